"""Megatron-core's modules for a transformer layer, each from its chosen backend."""

from collections.abc import Collection
from typing import Any

from megatron.core.models.backends import LocalSpecProvider

from slipway.config.schema import Kernels
from slipway.kernels.attention import TorchAttention, in_window
from slipway.kernels.experts import grouped_experts
from slipway.kernels.linear import ColumnLinear, ReplicatedLinear, RowLinear
from slipway.kernels.norms import LayerNorm, RMSNorm


class SpecProvider(LocalSpecProvider):
    """A provider that takes each operator's module from its chosen backend; kernels: with all backends named.

    recomputed: modules that the backward pass recomputes.
    """

    def __init__(self, kernels: Kernels, recomputed: Collection[str] = ()) -> None:
        self.kernels, self.recomputed = kernels, recomputed

    def column_parallel_linear(self) -> type:
        """Return a linear layer whose outputs are split over the tensor-parallel ranks."""
        if self.kernels.linear == "te":
            return _te().column_parallel_linear()
        return ColumnLinear if self.kernels.linear == "torch" else super().column_parallel_linear()

    def row_parallel_linear(self) -> type:
        """Return a linear layer whose inputs are split over the tensor-parallel ranks."""
        if self.kernels.linear == "te":
            return _te().row_parallel_linear()
        return RowLinear if self.kernels.linear == "torch" else super().row_parallel_linear()

    def replicated_linear(self) -> Any:
        """Return a linear layer without a bias that is whole on every tensor-parallel rank.

        Each rank applies it to its part of the sequence.
        """
        if self.kernels.linear == "te":
            return _te().linear()
        return ReplicatedLinear

    def layer_norm(self, rms_norm: bool = False, for_qk: bool = False, has_residual: bool = False) -> type:
        """Return LayerNorm or RMSNorm."""
        if self.kernels.norm == "te":
            return _te().layer_norm(rms_norm=rms_norm, for_qk=for_qk)
        if self.kernels.norm == "apex":
            from megatron.core.fusions.fused_layer_norm import FusedLayerNorm

            return FusedLayerNorm
        if self.kernels.norm == "triton":
            from slipway.kernels.triton.norms import TritonLayerNorm, TritonRMSNorm

            return TritonRMSNorm if rms_norm else TritonLayerNorm
        return RMSNorm if rms_norm else LayerNorm

    def core_attention(self, window: int | None = None) -> type:
        """Return softmax(Q K^T) V.

        window: keys that a query sees; Transformer Engine's reads it in TransformerConfig.
        """
        if self.kernels.attention == "te":
            return _te().core_attention()
        return TorchAttention if window is None else in_window(window)

    def grouped_mlp_modules(self, *words: Any, **named: Any) -> Any:
        """Return the experts; arguments and results differ between Megatron-core's versions."""
        if self.kernels.moe == "te":
            _leave_extra_states_whole()
            return _te().grouped_mlp_modules(*words, **named)
        unfused = super().grouped_mlp_modules(*words, **named)
        if self.kernels.moe != "torch":
            return unfused
        grouped = grouped_experts(self.recomputed)
        return (grouped, None) if isinstance(unfused, tuple) else grouped


def _te() -> Any:
    from megatron.core.extensions.transformer_engine_spec_provider import TESpecProvider

    return TESpecProvider()


def _leave_extra_states_whole() -> None:
    """Stop 0.16 from splitting FP8's extra states by expert, which fails if the recipe keeps none.

    Checkpoints hold no FP8 scales anyway.
    """
    from megatron.core.extensions import transformer_engine

    grouped: Any = transformer_engine.TEGroupedLinear
    grouped._split_extra_state = lambda layer, state: [state] * layer.num_gemms
