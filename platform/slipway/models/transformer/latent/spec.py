"""Megatron-core's MLASelfAttention made of our modules; see this package for the order of its weights.

What is done here avoids two silent traps of Megatron-core (tests/train/test_parity_latent.py). Without Transformer
Engine, its own choice splits the down-projections to the latent states over tensor-parallel ranks; then each rank's
heads give a part of the gradient of the keys' rotary channels, and nothing adds the parts. Whole products with sequence
parallelism are right: the gradient is summed where these channels were gathered. And Megatron-core takes a product for
whole only if its class is the one bound to TELinear.
"""

from typing import Any

from megatron.core.transformer import multi_latent_attention
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.multi_latent_attention import MLASelfAttention, MLASelfAttentionSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec

from slipway.kernels.provider import SpecProvider
from slipway.models.transformer.block import Block

_module: Any = multi_latent_attention


class LatentAttention(MLASelfAttention):
    """Megatron-core's latent attention, built from the modules that it is given."""

    def _resolve_qk_norm_config(self, submodules: Any) -> dict[str, Any]:
        """Return the given modules: 0.19 would require Transformer Engine if queries have no latent state."""
        names = ("linear_q_proj", "linear_q_up_proj", "linear_kv_up_proj", "q_layernorm", "kv_layernorm")
        return {name: getattr(submodules, name) for name in names}


def attention(provider: SpecProvider, block: Block) -> ModuleSpec:
    """Return the specification of a layer's latent attention."""
    assert block.latent
    norm: Any = provider.layer_norm(rms_norm=block.normalization == "RMSNorm", for_qk=True)
    up, down = provider.column_parallel_linear(), provider.replicated_linear()
    _module.TELinear = down  # also if Transformer Engine is installed and another kernel was chosen
    return ModuleSpec(
        module=LatentAttention,
        params={"attn_mask_type": AttnMaskType.causal if block.causal else AttnMaskType.no_mask},
        submodules=MLASelfAttentionSubmodules(
            linear_q_proj=up,
            linear_q_down_proj=down,
            linear_q_up_proj=up,
            linear_kv_down_proj=down,
            linear_kv_up_proj=up,
            core_attention=provider.core_attention(),
            linear_proj=provider.row_parallel_linear(),  # type: ignore[arg-type]
            q_layernorm=norm if block.latent.q_lora_rank else IdentityOp,
            kv_layernorm=norm,
        ),
    )
