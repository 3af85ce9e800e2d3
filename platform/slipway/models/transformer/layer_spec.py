"""The module specifications of transformer layers, built from the chosen kernels."""

from collections.abc import Collection, Sequence
from typing import Any

from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.models.gpt.gpt_layer_specs import get_mlp_module_spec_for_backend
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules

from slipway.config.schema import RunConfig
from slipway.kernels.provider import SpecProvider
from slipway.kernels.recompute import recomputed_mlp, recomputed_shared_experts
from slipway.models.transformer import recompute
from slipway.models.transformer.block import Block
from slipway.models.transformer.latent import spec as latent
from slipway.models.transformer.routing import CountingRouter


def block_submodules(config: RunConfig, blocks: Sequence[Block], span: range) -> TransformerBlockSubmodules:
    """Return the layers `span` of a transformer, and the norm after its last one. Equal layers are one object."""
    recomputed = recompute.modules(config, blocks)
    provider = SpecProvider(config.kernels, recomputed)
    specs = {block: _layer(provider, block, recomputed) for block in dict.fromkeys(blocks)}
    norm = provider.layer_norm(rms_norm=blocks[0].normalization == "RMSNorm")
    return TransformerBlockSubmodules(layer_specs=[specs[blocks[layer]] for layer in span], layer_norm=norm)  # type: ignore[arg-type]


def _layer(provider: SpecProvider, block: Block, recomputed: Collection[str]) -> ModuleSpec:
    bias_dropout_add: Any = get_bias_dropout_add  # a function, although the annotation asks for a type
    rms_norm = block.normalization == "RMSNorm"
    norm = provider.layer_norm(rms_norm=rms_norm)
    return ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=latent.attention(provider, block) if block.latent else _attention(provider, block),
            self_attn_bda=bias_dropout_add,
            pre_mlp_layernorm=norm,
            mlp=_feed_forward(provider, block, recomputed),
            mlp_bda=bias_dropout_add,
        ),
    )


def _attention(provider: SpecProvider, block: Block) -> ModuleSpec:
    rms_norm = block.normalization == "RMSNorm"
    of_heads: Any = provider.layer_norm(rms_norm=rms_norm, for_qk=True) if block.qk_norm else IdentityOp
    return ModuleSpec(
        module=SelfAttention,
        params={"attn_mask_type": AttnMaskType.causal if block.causal else AttnMaskType.no_mask},
        submodules=SelfAttentionSubmodules(
            linear_qkv=provider.column_parallel_linear(),
            core_attention=provider.core_attention(block.window),
            linear_proj=provider.row_parallel_linear(),
            q_layernorm=of_heads,
            k_layernorm=of_heads,
        ),
    )


def _feed_forward(provider: SpecProvider, block: Block, recomputed: Collection[str]) -> Any:
    """Return Megatron-core's MLP or mixture of experts, or our MLP that keeps less, also for shared experts."""
    spec: Any = mlp_spec(provider, block.num_experts, provider.kernels.moe == "te")
    parts = _parts(spec)
    if block.num_experts is None:
        return recomputed_mlp(parts, "mlp" in recomputed) if {"activation", "mlp"} & set(recomputed) else spec
    if block.shared_size and {"activation", "shared_experts"} & set(recomputed):
        dense = _parts(mlp_spec(provider, None, grouped=False))
        parts.shared_experts = recomputed_shared_experts(dense, "shared_experts" in recomputed)
    return spec


def mlp_spec(provider: SpecProvider, num_experts: int | None, grouped: bool) -> ModuleSpec:
    """Return a layer's MLP, or its experts. grouped: Transformer Engine multiplies all experts together."""
    spec: Any = get_mlp_module_spec_for_backend(provider, num_experts=num_experts, moe_grouped_gemm=grouped)
    if num_experts:
        _parts(spec).router = CountingRouter
    return spec


def _parts(spec: Any) -> Any:
    """Return the submodules of a specification, which newer versions of Megatron-core turn into a partial function."""
    return spec.submodules if isinstance(spec, ModuleSpec) else spec.keywords["submodules"]
