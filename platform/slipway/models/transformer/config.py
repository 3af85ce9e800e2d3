"""The TransformerConfig of Megatron-core for transformer layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import package_info
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig

from slipway.config.schema import Parallelism, RunConfig
from slipway.kernels.probe import machine
from slipway.models.transformer import recompute
from slipway.models.transformer.block import Block


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": _gelu_tanh, "swiglu": F.silu}  # swiglu: the gate's activation


def transformer_config(
    config: RunConfig, blocks: Sequence[Block], settings: Mapping[str, Any], *, behind: int = 0, **fields: Any
) -> TransformerConfig:
    """Return Megatron-core's configuration of a transformer of these layers, the same for all stages.

    settings: the engine's fields for layout and precision. behind: further layers like the last one that the family
    builds itself. fields: the family's own fields; they override the others.
    """
    training, kernels, block = config.training, config.kernels, blocks[0]
    dense = next((block for block in blocks if not block.num_experts), block)
    mixture = next((block for block in blocks if block.num_experts), None)
    # Megatron-core's small functions are compiled by torch, which writes Triton for GPUs; on a CPU the compiler's start
    # costs more than it gains
    compiled = kernels.linear != "unfused" and torch.cuda.is_available() and machine("cuda").triton.usable
    gated = block.activation == "swiglu"
    common: dict[str, Any] = dict(
        num_layers=len(blocks),
        hidden_size=block.hidden_size,
        num_attention_heads=block.num_attention_heads,
        num_query_groups=block.query_groups,
        kv_channels=block.head_size,
        ffn_hidden_size=dense.mlp_size,
        normalization=block.normalization,
        layernorm_epsilon=block.norm_epsilon,
        activation_func=_ACTIVATIONS[block.activation],
        gated_linear_unit=gated,
        add_bias_linear=block.bias,
        add_qkv_bias=block.qkv_bias,
        qk_layernorm=block.qk_norm,
        hidden_dropout=block.hidden_dropout,
        attention_dropout=block.attention_dropout,
        masked_softmax_fusion=False,
        # Megatron-core's fused GELU is the approximation by tanh, written out: the same model must not depend on the
        # kernels
        bias_activation_fusion=kernels.activation in ("triton", "torch") and gated,
        bias_dropout_fusion=compiled,
        apply_rope_fusion=kernels.rotary in ("te", "triton", "torch"),
        persist_layer_norm=False,
    )
    if training.fp8:
        common |= dict(fp8=training.fp8, fp8_recipe=training.fp8_recipe)
    if any(block.window for block in blocks):
        common |= _windows([*blocks, *[blocks[-1]] * behind])
    if mixture is not None:
        common |= _experts(config, blocks, mixture)
    common |= dict(settings) | _recomputed(config, blocks)
    if block.latent is None:
        return TransformerConfig(**common | fields)
    # rotated by Megatron-core's plain functions: its fused one takes YaRN only, and ours takes other tensors
    common |= dict(apply_rope_fusion=False, **block.latent._asdict())
    return MLATransformerConfig(**common | fields)


def pipeline_layout(spans: Sequence[range]) -> list[list[str]] | None:
    """Return the layers of each model chunk in Megatron-core's words; None: every chunk has equally many.

    spans: from Family.spans, for a model whose first layer is the embedding and whose last one is the head.
    """
    layers = [len(span) for span in spans]
    layers[0] -= 1  # the embedding
    layers[-1] -= 1  # the head
    chunks = [["decoder"] * number for number in layers]
    if len(set(map(len, chunks))) == 1:
        return None
    chunks[0].insert(0, "embedding")
    chunks[-1].append("loss")
    return chunks


def parts_of_balance(layout: Parallelism) -> int:
    """Return the factor by which Megatron-core's losses on a router's output are too small in this layout.

    Each of the tensor- and context-parallel ranks that share a sequence adds its part of the loss's gradient,
    multiplied by the number of tokens, by which finalize_model_grads divides. 0.16 uses the tokens of one rank instead
    of those of all; 0.19 is right.
    """
    return 1 if _counts_tokens() else layout.tensor_model_parallel_size * layout.context_parallel_size


def samples_of_balance(samples: int) -> int:
    """Return the factor by which its loss of each sequence (seq_aux_loss) is too small with so many samples.

    The loss is their mean, multiplied by the number of tokens, for which 0.16 uses those of one sample; 0.19 is right.
    samples: of a microbatch.
    """
    return 1 if _counts_tokens() else samples


def _counts_tokens() -> bool:
    """Return whether Megatron-core's router knows how many tokens its losses cover."""
    return package_info.MAJOR > 0 or package_info.MINOR >= 19


def _windows(blocks: Sequence[Block]) -> dict[str, Any]:
    """Return the windows, by layer number, for Transformer Engine; slipway.models.transformer.layer_spec sets ours."""
    (window,) = {block.window for block in blocks if block.window}
    return dict(
        window_size=(window - 1, 0),  # tokens before a token, and after it
        window_attn_skip_freq=[int(block.window is not None) for block in blocks],
    )


def _experts(config: RunConfig, blocks: Sequence[Block], mixture: Block) -> dict[str, Any]:
    mixed = any(block.num_experts is None for block in blocks)
    return dict(
        num_moe_experts=mixture.num_experts,
        moe_ffn_hidden_size=mixture.mlp_size,
        moe_layer_freq=[int(block.num_experts is not None) for block in blocks] if mixed else 1,
        moe_router_topk=mixture.topk,
        moe_shared_expert_intermediate_size=mixture.shared_size or None,
        # if rounded, near ties go to other experts, and training diverges (Switch Transformers, arXiv 2101.03961, 2.4)
        moe_router_dtype="fp32",
        moe_grouped_gemm=config.kernels.moe == "te",
    )


def _recomputed(config: RunConfig, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return the fields for what Megatron-core's own modules recompute.

    slipway.models.transformer.layer_spec builds our modules.
    """
    modules = recompute.modules(config, blocks)
    if recompute.LAYER in modules:
        return dict(recompute_granularity="full", recompute_method="uniform", recompute_num_layers=1)
    names = {"norm": "layernorm", "attention": "core_attn", "mla_up_proj": "mla_up_proj"}
    if config.kernels.moe == "te":
        names["activation"] = "moe_act"
    own = [name for module, name in names.items() if module in modules]
    return dict(recompute_granularity="selective", recompute_modules=own) if own else {}
