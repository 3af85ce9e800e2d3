"""What Megatron-core is told of a GPT: its TransformerConfig."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import package_info
from megatron.core.transformer.transformer_config import TransformerConfig

from slipway.config.schema import Parallelism, RunConfig
from slipway.kernels.probe import machine
from slipway.models.gpt import recompute
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.family import FAMILY


def transformer_config(config: RunConfig, settings: Mapping[str, Any]) -> TransformerConfig:
    """Megatron-core's configuration of the model; settings: what the engine says of layout and precision."""
    model, layout, training, kernels = gpt_of(config), config.parallelism, config.training, config.kernels
    moe: dict[str, Any] = {}
    if model.num_moe_experts:
        moe = dict(
            num_moe_experts=model.num_moe_experts,
            moe_router_topk=model.moe_router_topk,
            moe_router_load_balancing_type="aux_loss",
            moe_aux_loss_coeff=model.moe_aux_loss_coeff * _parts_of_balance(layout),
            moe_grouped_gemm=config.kernels.moe == "te",
        )
    fp8: dict[str, Any] = {}
    if training.fp8:
        fp8 = dict(fp8=training.fp8, fp8_recipe=training.fp8_recipe)
    # Megatron-core's small functions are compiled by torch, which writes Triton for GPUs; on a CPU the compiler's start
    # costs more than it gains
    compiled = kernels.linear != "unfused" and torch.cuda.is_available() and machine("cuda").triton.usable
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        num_query_groups=model.query_groups,
        kv_channels=model.head_size,
        ffn_hidden_size=model.mlp_size,
        normalization=model.normalization,
        layernorm_epsilon=model.norm_epsilon,
        activation_func=F.silu if model.activation == "swiglu" else F.gelu,
        gated_linear_unit=model.activation == "swiglu",
        add_bias_linear=model.add_bias_linear,
        hidden_dropout=model.hidden_dropout,
        attention_dropout=model.attention_dropout,
        init_method_std=model.init_method_std,
        masked_softmax_fusion=False,
        # Megatron-core's fused GELU is the approximation by tanh: the same model must not depend on the kernels
        bias_activation_fusion=kernels.activation in ("triton", "torch") and model.activation == "swiglu",
        bias_dropout_fusion=compiled,
        apply_rope_fusion=kernels.rotary in ("te", "triton", "torch"),
        cross_entropy_loss_fusion=kernels.cross_entropy == "te",
        cross_entropy_fusion_impl="te",
        persist_layer_norm=False,
        **settings,
        **_stages(config),
        **_recompute(config),
        **moe,
        **fp8,
    )


def _parts_of_balance(layout: Parallelism) -> int:
    """By how much Megatron-core's load-balancing loss is too small on this layout.

    Each of the tensor- and context-parallel ranks that share a sequence adds its part of the loss's gradient,
    multiplied by the number of tokens, by which finalize_model_grads divides. 0.16 takes the tokens of one rank for
    those of all; 0.19 is right.
    """
    if package_info.MAJOR > 0 or package_info.MINOR >= 19:
        return 1
    return layout.tensor_model_parallel_size * layout.context_parallel_size


def _stages(config: RunConfig) -> dict[str, Any]:
    """Megatron-core's word for the layers of each model chunk; not needed where they are as many in each."""
    spans = FAMILY.spans(config, config.parallelism)
    layers = [len(span) for span in spans]
    layers[0] -= 1  # the embedding
    layers[-1] -= 1  # the head
    chunks = [["decoder"] * number for number in layers]
    if len(set(map(len, chunks))) == 1:
        return {}
    chunks[0].insert(0, "embedding")
    chunks[-1].append("loss")
    return dict(pipeline_model_parallel_layout=chunks)


def _recompute(config: RunConfig) -> dict[str, Any]:
    """What Megatron-core's own modules compute again; stage.layer_spec builds ours."""
    modules = recompute.modules(config)
    if recompute.LAYER in modules:
        return dict(recompute_granularity="full", recompute_method="uniform", recompute_num_layers=1)
    names = {"norm": "layernorm", "attention": "core_attn"}
    if config.kernels.moe == "te":
        names["activation"] = "moe_act"
    own = [name for module, name in names.items() if module in modules]
    return dict(recompute_granularity="selective", recompute_modules=own) if own else {}
