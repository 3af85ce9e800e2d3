"""Mixtral: Llama's layers with a mixture of experts, of which each token visits the best few."""

import re
from collections.abc import Iterator
from typing import Any

from slipway.errors import UserError
from slipway.models.formats import Part
from slipway.models.gpt.config import Config
from slipway.models.gpt.formats import like_llama
from slipway.models.gpt.formats.activations import SILU
from slipway.models.gpt.formats.architecture import Class, unfit
from slipway.models.gpt.formats.experts import mixture, read_balance, written_balance
from slipway.models.gpt.formats.given import Given


class Mixtral(Class):
    """The architecture Mixtral: see slipway.models.gpt.formats.architecture.Architecture.

    transformers 5 computes with stacked experts, but its files keep the names of each expert's layers.
    """

    name = "MixtralForCausalLM"
    model_type = "mixtral"
    prefix = "model."
    embedding = like_llama.EMBEDDING
    head = like_llama.HEAD
    computed = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

    def trouble(self, model: Config) -> UserError | None:
        """Return why it cannot be this model; None: it can. It has no biases, and no dropout except attention's."""
        wanted = {
            "position_embedding_type": ("rope",),
            "normalization": ("RMSNorm",),
            "activation": ("swiglu",),
            "hidden_dropout": (0.0,),
        }
        return unfit(self.name, model, wanted)

    def parts(self, model: Config) -> Iterator[Part]:
        """Return the parts of Llama's layers, each with a router and experts."""
        names = ("w1", "w3", "w2")

        return like_llama.parts(model, lambda _, where: mixture(model, where, "block_sparse_moe", names))

    def settings(self, model: Config) -> dict[str, Any]:
        """Return the settings by Mixtral's names."""
        return like_llama.settings(model) | {
            "intermediate_size": model.expert_size,
            "hidden_act": "silu",
            "rms_norm_eps": model.norm_epsilon,
            "sliding_window": None,
            "num_local_experts": model.num_moe_experts,
            "num_experts_per_tok": model.moe_router_topk,
            "output_router_logits": False,
            "router_aux_loss_coef": written_balance(model),
            "router_jitter_noise": 0.0,
        }

    def fields(self, given: Given) -> dict[str, Any]:
        """Return the fields; defaults are MixtralConfig's."""
        given.must("router_jitter_noise", 0.0, 0.0, "disturbs what the router sees")
        found = like_llama.fields(
            given, hidden=4096, mlp=14336, layers=32, heads=32, groups=8, positions=131072, theta=1e6
        )
        like_llama.check_window(given, found)
        return found | {
            "normalization": "RMSNorm",
            "norm_epsilon": given.number("rms_norm_eps", 1e-5),
            "activation": given.choice("hidden_act", "silu", SILU),
            "add_bias_linear": False,
            "num_moe_experts": given.size("num_local_experts", 8),
            "moe_router_topk": given.size("num_experts_per_tok", 2),
            **read_balance(given.number("router_aux_loss_coef", 0.001)),
            "untie_embeddings_and_output_weights": not given.value("tie_word_embeddings", False, bool),
            "init_method_std": given.number("initializer_range", 0.02),
            "vocab_size": given.size("vocab_size", 32000),
        }
