"""Release outputs of modules once they have been used, and recompute them in the backward pass.

This is Megatron-core's CheckpointWithoutOutput with two faults fixed, and an MLP that uses it between its products.
"""

from types import SimpleNamespace
from typing import Any

import torch
from megatron.core import tensor_parallel
from megatron.core.tensor_parallel import random
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.moe.shared_experts import SharedExpertMLP
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor


class Recomputed(random.CheckpointWithoutOutput):
    """Megatron-core's CheckpointWithoutOutput with False for no FP8.

    Megatron-core's takes any value but None for FP8, even False, and then requires Transformer Engine, which may be
    missing.
    """

    def __init__(self, fp8: Any = None) -> None:
        super().__init__(fp8 or None)  # type: ignore[arg-type]


def _fill(released: Tensor, again: Tensor) -> None:
    """Restore the numbers of a released tensor and all that share its memory; autograd considers it unchanged."""
    storage = again.untyped_storage()
    released.untyped_storage().resize_(storage.size())
    released.data.copy_(again)


tensor_parallel.CheckpointWithoutOutput = Recomputed  # type: ignore[misc]
# 0.19 instead shares the memory with an extension that each process would compile in its first backward pass
random._get_share_storage = lambda: _fill  # type: ignore[attr-defined]


def recomputed_mlp(parts: MLPSubmodules, product: bool) -> type[MLP]:
    """Return the class of an MLP of these parts that keeps no activation.

    product: whether it does not keep the first product's output either.
    """

    class Built(RecomputedMLP):
        def __init__(self, config: TransformerConfig, **_: Any) -> None:
            super().__init__(config, parts, ffn_hidden_size=config.ffn_hidden_size)
            self.prepare(product)

    return Built


def recomputed_shared_experts(parts: MLPSubmodules, product: bool) -> type[MLP]:
    """Return the class of a mixture's shared experts that keep no activation; product: see recomputed_mlp."""

    class Built(RecomputedSharedExperts):
        def __init__(self, config: TransformerConfig, *, pg_collection: Any, gate: bool, **_: Any) -> None:
            super().__init__(config, parts, gate=gate, pg_collection=pg_collection)
            self.prepare(product)

    return Built


class _Pass(torch.nn.Module):
    """A stand-in for a linear layer that returns its input, a result and its bias."""

    def forward(self, x: Any) -> tuple[Tensor, Tensor | None]:
        return x if isinstance(x, tuple) else (x, None)


_PASS = _Pass()


class RecomputedMLP(MLP):
    """Megatron-core's MLP; between its products it runs Megatron-core's code, so that the numbers are the same."""

    product: bool

    def prepare(self, product: bool) -> None:
        """Complete the module once it is built. product: see recomputed_mlp."""
        self.product = product
        if self.config.fp8:  # else the second product keeps its input in FP8, not the released tensor
            from megatron.core.extensions.transformer_engine import set_save_original_input

            set_save_original_input(self.linear_fc2)

    def forward(
        self, hidden_states: Tensor, per_token_scale: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output [s, b, h] of hidden states [s, b, h], and the bias that is still to be added."""
        assert per_token_scale is None, "not for experts"
        again = Recomputed()
        if self.product:
            active = again.checkpoint(lambda x: self._active(self.linear_fc1, x), hidden_states)
        else:
            wide = self.linear_fc1(hidden_states)
            active = again.checkpoint(lambda *wide: self._active(_PASS, wide), *wide)
        output, bias = self.linear_fc2(active)
        again.discard_output_and_register_recompute(output)
        # a new tensor: its hooks, which restore the output of a norm before, run before those of this one
        return output.view_as(output), bias

    def _active(self, first: Any, x: Any) -> Tensor:
        """Return the second product's input, by Megatron-core's own forward pass with a stand-in for that product."""
        parts = SimpleNamespace(
            config=self.config, activation_func=self.activation_func, linear_fc1=first, linear_fc2=_PASS
        )
        return MLP.forward(parts, x)[0]  # type: ignore[arg-type]


class RecomputedSharedExperts(SharedExpertMLP, RecomputedMLP):
    """Megatron-core's shared experts, whose base class for the MLP's part is RecomputedMLP."""
