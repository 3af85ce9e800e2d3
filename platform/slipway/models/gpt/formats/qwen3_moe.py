"""Qwen3-MoE: Qwen3's attention, and experts in all layers or in all but the first few."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama, qwen3
from slipway.models.gpt.formats.architecture import Class, unfit
from slipway.models.gpt.formats.experts import mlp_or_experts, read_balance, written_balance
from slipway.models.gpt.formats.given import Given


class Qwen3Moe(Class):
    """The architecture Qwen3-MoE: see slipway.models.gpt.formats.architecture.Architecture.

    transformers 5 computes with stacked experts, but its files keep the names of each expert's layers.
    """

    name = "Qwen3MoeForCausalLM"
    model_type = "qwen3_moe"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can.

        The first layers may have no experts, and the weights of a token's experts need not sum to one.
        """
        free = {
            "first_k_dense_replace": (model.first_k_dense_replace,),
            "moe_router_pre_softmax": (False, True),
        }
        return unfit(self.name, model, qwen3.WANTED | free)

    def parts(self, model: Config) -> Iterator[Part]:
        """Return the parts of Llama's layers, each with an MLP, or with a router and experts."""
        return like_llama.parts(model, lambda layer, where: mlp_or_experts(model, layer, where))

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by Qwen3-MoE's names."""
        return (
            qwen3.settings(model)
            | {
                "max_window_layers": model.num_layers,  # published files have it, but transformers does not read it
                "num_experts": model.num_moe_experts,
                "num_experts_per_tok": model.moe_router_topk,
                "moe_intermediate_size": model.expert_size,
                "norm_topk_prob": not model.moe_router_pre_softmax,
                "decoder_sparse_step": 1,
                "mlp_only_layers": list(range(model.first_k_dense_replace)),
                "output_router_logits": False,
                "router_aux_loss_coef": written_balance(model),
            }
        )

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are Qwen3MoeConfig's."""
        found = like_llama.fields(
            given, hidden=2048, mlp=6144, layers=24, heads=32, groups=4, positions=32768, theta=10000.0
        )
        given.asked |= {"max_window_layers"}
        qwen3.check_windows(given, found)
        given.must("decoder_sparse_step", 1, 1, "has experts in every so manieth layer")
        dense = given.value("mlp_only_layers", [], list) or []
        if dense != list(range(len(dense))) or len(dense) >= found["num_layers"]:
            raise given.error(
                "mlp_only_layers",
                "are not the first ones: layers without experts stand before all others here",
                use=f"{list(range(len(dense)))}",
            )
        return (
            found
            | qwen3.fields(given)
            | {
                "num_moe_experts": given.size(given.renamed("num_experts", "num_local_experts"), 128),
                "moe_router_topk": given.size("num_experts_per_tok", 8),
                "moe_ffn_hidden_size": given.size("moe_intermediate_size", 768),
                "moe_router_pre_softmax": not given.value("norm_topk_prob", False, bool),
                "first_k_dense_replace": len(dense),
                **read_balance(given.number("router_aux_loss_coef", 0.001)),
            }
        )
