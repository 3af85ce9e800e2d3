"""What a module returns, released once it has been used and computed again in the backward pass.

Megatron-core's CheckpointWithoutOutput with two faults mended, and an MLP that uses it between its two products.
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
    """Megatron-core's takes every False for FP8, and asks for Transformer Engine, which may not be there."""

    def __init__(self, fp8: Any = None) -> None:
        super().__init__(fp8 or None)  # type: ignore[arg-type]


def _fill(released: Tensor, again: Tensor) -> None:
    """Give a released tensor, and all that shares its memory, its numbers back; autograd takes it for unchanged."""
    storage = again.untyped_storage()
    released.untyped_storage().resize_(storage.size())
    released.data.copy_(again)


tensor_parallel.CheckpointWithoutOutput = Recomputed  # type: ignore[misc]
# 0.19 shares the memory instead by an extension that each process would compile in its first backward pass
random._get_share_storage = lambda: _fill  # type: ignore[attr-defined]


def recomputed_mlp(parts: MLPSubmodules, product: bool) -> type[MLP]:
    """Return the class of an MLP of these parts that keeps no activation; product: nor what its first product returns."""

    class Built(RecomputedMLP):
        def __init__(self, config: TransformerConfig, **_: Any) -> None:
            super().__init__(config, parts, ffn_hidden_size=config.ffn_hidden_size)
            self.prepare(product)

    return Built


def recomputed_shared_experts(parts: MLPSubmodules, product: bool) -> type[MLP]:
    """Return the same of a mixture's experts that every token meets."""

    class Built(RecomputedSharedExperts):
        def __init__(self, config: TransformerConfig, *, pg_collection: Any, gate: bool, **_: Any) -> None:
            super().__init__(config, parts, gate=gate, pg_collection=pg_collection)
            self.prepare(product)

    return Built


class _Pass(torch.nn.Module):
    """In the place of a linear layer: returns what it takes, a result and its bias."""

    def forward(self, x: Any) -> tuple[Tensor, Tensor | None]:
        return x if isinstance(x, tuple) else (x, None)


_PASS = _Pass()


class RecomputedMLP(MLP):
    """Megatron-core's MLP; between its products it runs Megatron-core's code, so that the numbers are the same."""

    product: bool

    def prepare(self, product: bool) -> None:
        """To be called once it is built. product: see recomputed_mlp."""
        self.product = product
        if self.config.fp8:  # else the second product keeps its input in FP8, not what is released
            from megatron.core.extensions.transformer_engine import set_save_original_input

            set_save_original_input(self.linear_fc2)

    def forward(
        self, hidden_states: Tensor, per_token_scale: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return [s, b, h] -> [s, b, h], and the bias still to add."""
        assert per_token_scale is None, "not for experts"
        again = Recomputed()
        if self.product:
            active = again.checkpoint(lambda x: self._active(self.linear_fc1, x), hidden_states)
        else:
            wide = self.linear_fc1(hidden_states)
            active = again.checkpoint(lambda *wide: self._active(_PASS, wide), *wide)
        output, bias = self.linear_fc2(active)
        again.discard_output_and_register_recompute(output)
        # another tensor: its hooks, which bring back what a norm before has returned, come before those of this one
        return output.view_as(output), bias

    def _active(self, first: Any, x: Any) -> Tensor:
        """Return what the second product takes, by Megatron-core's own forward pass with nothing as second product."""
        parts = SimpleNamespace(
            config=self.config, activation_func=self.activation_func, linear_fc1=first, linear_fc2=_PASS
        )
        return MLP.forward(parts, x)[0]  # type: ignore[arg-type]


class RecomputedSharedExperts(SharedExpertMLP, RecomputedMLP):
    """Megatron-core's, which asks the class after it for the MLP's part."""
