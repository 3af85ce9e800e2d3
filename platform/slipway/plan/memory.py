"""Memory of one rank of each pipeline stage, by part, in bytes."""

from collections import Counter
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Layer, Shard
from slipway.plan import overheads
from slipway.plan.keeps import Keeps
from slipway.plan.layout import Grid
from slipway.plan.moments import Kind, matrices_of, moments, passing_through, total_of
from slipway.plan.overheads import GIB


class StageMemory(BaseModel):
    """Bytes on each rank of one pipeline stage (on the fullest rank if they differ), at the fullest moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: int
    parameters: int
    gradients: int
    optimizer_states: int
    activations: int
    head: int = 0
    """The head's bytes (logits or a decoder, the loss, gradients).

    0 if a layer's backward pass needs more after it.
    """
    gathered: int = 0
    """Parameters and gradients that are sharded, but whole for a while (FSDP).

    For gradients 0 if the activations, before there are any, take more.
    """
    buffers: int = 0
    """Buffers for what ranks exchange, and for what is recorded."""
    framework: int = 0
    """Bytes outside of torch's allocator: the device's context, libraries, NCCL's own buffers."""
    fragmentation: int = 0
    """Bytes that the allocator holds and cannot use."""

    @property
    def allocated(self) -> int:
        """Bytes of tensors: what torch.cuda.max_memory_allocated reports."""
        return self.total - self.framework - self.fragmentation

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(getattr(self, part) for part in PARTS)


PARTS = tuple(name for name in StageMemory.model_fields if name != "stage")
"""The parts' names, in the order of a table."""


def device_bytes(config: RunConfig) -> int | None:
    """Return the bytes of memory of one device; None: the cluster profile does not state them."""
    gib = config.cluster.device.memory_gib
    return None if gib is None else int(gib * GIB)


class Share(NamedTuple):
    """How a layout shares out a model: its layers as one rank holds them, and those of each model chunk."""

    layers: list[Layer]
    spans: list[range]
    """In pipeline order: chunk v x stages + p is virtual stage v of stage p."""

    @classmethod
    def of(cls, config: RunConfig) -> "Share":
        """Return the share of the configured layout. Raises UserError if the layers cannot be shared out."""
        family, layout = family_of(config), config.parallelism
        return cls(family.layers(config, layout), family.spans(config, layout))

    def chunks(self, grid: Grid, stage: int) -> list[range]:
        """Return the layers of each model chunk of a pipeline stage."""
        return self.spans[stage :: grid.pp]

    def kinds(self, span: range) -> list[Kind]:
        """Return the different layers of a chunk with how often each occurs; families repeat one object."""
        counted = Counter(map(id, self.layers[span.start : span.stop]))
        by_id = {id(layer): layer for layer in self.layers[span.start : span.stop]}
        return [(by_id[key], count) for key, count in counted.items()]

    def of_stage(self, grid: Grid, stage: int) -> list[list[Kind]]:
        """Return the different layers of each chunk of a pipeline stage."""
        return [self.kinds(span) for span in self.chunks(grid, stage)]

    def parameters(self, grid: Grid, stage: int) -> Shard:
        """Return the number of parameters that a rank of a stage holds."""
        return total_of(kind for chunk in self.of_stage(grid, stage) for kind in chunk)


def stage_memory(
    config: RunConfig, share: Share, grid: Grid, stage: int, microbatches: int, keeps: Keeps | None = None
) -> StageMemory:
    """Return the memory of one rank of a stage, at the fullest moment of a step.

    The optimizer's states are divided over the replicas by the distributed optimizer (ZeRO-1). FSDP also divides
    gradients (ZeRO-2) and parameters (ZeRO-3), arXiv 1910.02054, sections 3.1 and 5, and holds some of it whole for a
    while. Not counted: the padding of buckets, at most 2^16 of 4 x 10^7 elements or more, 0.2%.

    keeps: None: what this project's trainer keeps.
    """
    keeps, chunks = keeps or Keeps.of(config), share.of_stage(grid, stage)
    kinds = [kind for chunk in chunks for kind in chunk]
    (dense, expert), matrices = total_of(kinds), matrices_of(kinds)
    layout = config.parallelism
    strategy = layout.data_parallel_sharding_strategy
    whole, cut = dense + expert, -(-dense // (grid.dp * grid.cp)) + -(-expert // grid.expert_dp)
    replicas = (grid.dp * grid.cp, grid.expert_dp) if layout.use_distributed_optimizer else (1, 1)
    passing = passing_through(config, chunks, grid, stage, microbatches)
    moment = max(moments(config, kinds, grid, keeps, passing), key=sum)
    stable = StageMemory.model_construct(
        stage=stage,
        parameters=keeps.parameter * (cut if strategy == "optim_grads_params" else whole),
        gradients=keeps.gradient * (cut if strategy else whole),
        optimizer_states=keeps.states(dense, matrices.dense, replicas[0])
        + keeps.states(expert, matrices.expert, replicas[1]),
        **moment._asdict(),
        buffers=overheads.exchanged(config, grid, passing.sent, passing.shared, passing.blocks),
        framework=overheads.of_framework(config, grid),
    )
    return stable.model_copy(
        update={"fragmentation": overheads.fragmentation(config, sum(moment), stable.total)}
    )


def fullest(config: RunConfig, share: Share, grid: Grid, microbatches: int) -> StageMemory:
    """Return the memory of the fullest stage, for callers that compare many layouts.

    Not every stage is evaluated: of stages with the same layers the first holds most.
    """
    seen, found = set[tuple[tuple[tuple[int, int], ...], ...]](), list[StageMemory]()
    keeps = Keeps.of(config)
    for stage in range(grid.pp):
        layers = share.of_stage(grid, stage)
        key = tuple(tuple((id(layer), count) for layer, count in chunk) for chunk in layers)
        if key not in seen:
            seen.add(key)
            found.append(stage_memory(config, share, grid, stage, microbatches, keeps))
    return max(found, key=lambda memory: memory.total)
