"""The choice of SwiGLU in Megatron-core's MLPs and in the experts: its own compiled functions, or Triton's."""

from typing import Any

from megatron.core.fusions import fused_bias_swiglu
from megatron.core.transformer import mlp
from megatron.core.transformer.moe import experts as megatron_experts

from slipway.kernels import experts

FUNCTIONS = ("bias_swiglu_impl", "weighted_bias_swiglu_impl")


def use(backend: str) -> None:
    """Make layers with bias_activation_fusion call this backend's functions from now on."""
    source: Any = fused_bias_swiglu
    if backend == "triton":
        from slipway.kernels.triton import swiglu

        source = swiglu
    for module in (mlp, megatron_experts, experts):
        for name in FUNCTIONS:
            if hasattr(module, name):
                setattr(module, name, getattr(source, name))
