"""A mixture's experts as two grouped matrix products of torch, each for all experts of a rank."""

from collections.abc import Collection
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.fusions.fused_bias_swiglu import weighted_bias_swiglu_impl
from megatron.core.tensor_parallel import set_tensor_model_parallel_attributes
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.moe import moe_utils
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from slipway.kernels.recompute import Recomputed

# 0.16's router uses this name even without Transformer Engine
if not hasattr(moe_utils, "te_general_gemm"):
    moe_utils.te_general_gemm = None  # type: ignore[attr-defined]


class GroupedExperts(MegatronModule):
    """Experts for tokens that are sorted by expert; checkpoints fit Megatron-core's separate experts, both ways.

    Weights: fc1 [experts, out / tp, hidden] (gated: out is both halves, of this rank's channels), fc2 [experts, hidden,
    in / tp]; experts: those of this rank. The dispatcher sums the ranks' parts of the outputs. recompute: what the
    backward pass recomputes, the first product and what follows it, or only what follows.
    """

    recompute: Literal["experts", "activation"] | None = None

    def __init__(
        self, num_local_experts: int, config: TransformerConfig, *_: Any, pg_collection: Any, **__: Any
    ) -> None:
        super().__init__(config=config)
        assert not config.add_bias_linear, "experts have no biases"
        assert not config.moe_apply_probs_on_input
        self.groups = pg_collection
        size: Any = config.moe_ffn_hidden_size
        size //= pg_collection.expt_tp.size()
        wide = 2 * size if config.gated_linear_unit else size
        self.fc1, self.fc2 = (
            torch.nn.Parameter(torch.empty(num_local_experts, *shape, dtype=config.params_dtype))
            for shape in ((wide, config.hidden_size), (config.hidden_size, size))
        )
        for weight, axis in ((self.fc1, 1), (self.fc2, 2)):
            set_tensor_model_parallel_attributes(weight, True, axis, 1)
            weight.allreduce = config.expert_model_parallel_size == 1  # type: ignore[attr-defined]

    def forward(
        self, hidden: Tensor, tokens_per_expert: Tensor, probabilities: Tensor
    ) -> tuple[Tensor, None]:
        """Return weighted outputs [n, h] of tokens [n, h] that are sorted by expert, and no bias.

        tokens_per_expert: [experts], with the sum n. probabilities: [n].
        """
        ends = tokens_per_expert.to(hidden.device).cumsum(0, dtype=torch.int32)

        def active(hidden: Tensor, weights: Tensor) -> Tensor:
            return self._activated(_product(hidden, self.fc1, ends), weights)

        weights, again = probabilities[:, None], Recomputed()
        if self.recompute == "experts":
            input = again.checkpoint(active, hidden, weights)
        elif self.recompute == "activation":
            input = again.checkpoint(self._activated, _product(hidden, self.fc1, ends), weights)
        else:
            return _product(active(hidden, weights), self.fc2, ends), None
        output = _product(input, self.fc2, ends)
        again.discard_output_and_register_recompute(output)
        return output, None

    def _activated(self, wide: Tensor, probabilities: Tensor) -> Tensor:
        config = self.config
        if config.bias_activation_fusion and config.gated_linear_unit and config.activation_func is F.silu:
            return weighted_bias_swiglu_impl(wide, None, probabilities)
        if config.gated_linear_unit:
            gate, up = wide.chunk(2, dim=-1)
            active = config.activation_func(gate) * up
        else:
            active = config.activation_func(wide)
        return (active * probabilities).to(wide.dtype)

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple = (), metadata: dict | None = None
    ) -> dict[str, Any]:
        """Return one entry per weight, which is split into the tensors of SequentialMLP: by expert, and by half."""
        groups = self.groups
        entries: dict[str, Any] = {}
        for name, weight, axis in (("fc1", self.fc1, 0), ("fc2", self.fc2, 1)):
            halves = 2 if name == "fc1" and self.config.gated_linear_unit else 1
            cut: Any = partial(
                _cut,
                offsets=sharded_offsets,
                axis=axis,
                halves=halves,
                expert_rank=(groups.ep.rank(), groups.ep.size()),
                tensor_rank=(groups.expt_tp.rank(), groups.expt_tp.size()),
            )
            join: Any = partial(_joined, shape=weight.shape)
            entries[f"{prefix}{name}"] = ShardedTensorFactory(
                f"{prefix}experts.linear_{name}.weight",
                weight,
                cut,
                join,
                replica_id=(0, 0, groups.expt_dp.rank()),
            )
        return entries


class ExpertsWithoutActivation(GroupedExperts):
    """Experts that keep the first product's output, but nothing after it."""

    recompute = "activation"


class ExpertsWithoutProduct(GroupedExperts):
    """Experts that keep only their input."""

    recompute = "experts"


def grouped_experts(recomputed: Collection[str]) -> type[GroupedExperts]:
    """Return the class of experts that recompute these modules (see slipway.models.transformer.recompute)."""
    if "experts" in recomputed:
        return ExpertsWithoutProduct
    return ExpertsWithoutActivation if "activation" in recomputed else GroupedExperts


def _product(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Return, for each expert e, its rows (up to ends[e]) times weight[e]^T."""
    return F.grouped_mm(x, weight.transpose(1, 2), offs=ends)


def _cut(
    key: str,
    whole: Tensor,
    replica: Any,
    flattened_range: None = None,
    *,
    offsets: tuple,
    axis: int,
    halves: int,
    expert_rank: tuple[int, int],
    tensor_rank: tuple[int, int],
) -> list[ShardedTensor]:
    """Return views of [experts, ., .] as sharded tensors.

    offsets: (axis, index, count) of the axes before. axis: the one that tensor_rank splits.
    """
    first, experts = expert_rank[0] * len(whole), expert_rank[1] * len(whole)
    rank, size = tensor_rank
    before = len(offsets) + 1
    return [
        ShardedTensor.from_rank_offsets(
            key,
            half,
            *offsets,
            (len(offsets), first + index, experts),
            (axis + before, number * size + rank, halves * size),
            replica_id=replica,
            prepend_axis_num=before,
        )
        for index, expert in enumerate(whole)
        for number, half in enumerate(expert.chunk(halves))
    ]


def _joined(parts: list[Tensor], *, shape: torch.Size) -> Tensor:
    return torch.cat(parts).view(shape)
