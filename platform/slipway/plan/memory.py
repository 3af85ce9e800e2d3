"""Memory of one rank of each pipeline stage, by part, in bytes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Layer, Shard
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter
from slipway.plan import overheads, switches
from slipway.plan.layout import Grid, chunks_in_flight
from slipway.plan.overheads import GIB

WAITING_GRADIENTS = 10**9  # whole ones that Megatron-core's FSDP lets wait for their reduction
GATHERED_AHEAD = 10**9 // 2  # parameters that it gathers before they are needed


class StageMemory(BaseModel):
    """Bytes on each rank of one pipeline stage (the fullest rank, where they differ), at the fullest moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: int
    parameters: int
    gradients: int
    optimizer_states: int
    activations: int
    logits: int = 0
    """Of the head (logits, the loss and their gradients); 0 where the backward pass of a layer needs more after it."""
    gathered: int = 0
    """Parameters and gradients that are sharded, but whole for a while (FSDP); of gradients 0 where the activations,
    before there are any, take more."""
    buffers: int = 0
    """For what ranks exchange, and for what is recorded."""
    framework: int = 0
    """Outside of torch's allocator: the device's context, libraries, NCCL's own buffers."""
    fragmentation: int = 0
    """What the allocator holds and cannot use."""

    @property
    def allocated(self) -> int:
        """Bytes of tensors: what torch.cuda.max_memory_allocated tells."""
        return self.total - self.framework - self.fragmentation

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(getattr(self, part) for part in PARTS)


PARTS = tuple(name for name in StageMemory.model_fields if name != "stage")
"""The parts' names, in the order of a table."""


class Keeps(NamedTuple):
    """What a trainer keeps. Bytes of each parameter; whole parameters and gradients where they are sharded."""

    parameter: int
    gradient: int
    state: int
    """The optimizer's, its own copy of the parameter among it."""
    whole: int = 4
    """Bytes of a sharded parameter while it is whole."""
    ahead: int = GATHERED_AHEAD
    waiting: int = WAITING_GRADIENTS

    @classmethod
    def of(cls, config: RunConfig) -> "Keeps":
        """Of this project's trainer.

        Parameters in the training precision; gradients accumulated in fp32. The optimizer keeps its state in fp32
        (AdamW: two moments), in bf16 also an fp32 copy of the parameters: with AdamW 8 or 12 bytes. FSDP keeps the
        fp32 copy in fp32 too.
        """
        each = 2 if config.training.precision == "bf16" else 4
        copies = each == 2 or config.parallelism.data_parallel_sharding_strategy is not None
        return cls(each, 4, bytes_per_parameter(algorithm(config)) + 4 * copies, whole=each)


def device_bytes(config: RunConfig) -> int | None:
    """Memory of one device; None: the cluster profile does not say."""
    gib = config.cluster.device.memory_gib
    return None if gib is None else int(gib * GIB)


class Share(NamedTuple):
    """How a model is shared out in a layout: its layers as one rank holds them, and those of each model chunk."""

    layers: list[Layer]
    spans: list[range]
    """In pipeline order: chunk v x stages + p is virtual stage v of stage p."""

    @classmethod
    def of(cls, config: RunConfig) -> "Share":
        """The share of the configured layout. Raises UserError where the layers cannot be shared out."""
        family, layout = family_of(config), config.parallelism
        return cls(family.layers(config, layout), family.spans(config, layout))

    def chunks(self, grid: Grid, stage: int) -> list[range]:
        """Layers of each model chunk of a pipeline stage."""
        return self.spans[stage :: grid.pp]

    def kinds(self, span: range) -> list[tuple[Layer, int]]:
        """The different layers of a chunk, and how often each is there: families repeat one object."""
        counted = Counter(map(id, self.layers[span.start : span.stop]))
        by_id = {id(layer): layer for layer in self.layers[span.start : span.stop]}
        return [(by_id[key], count) for key, count in counted.items()]

    def of_stage(self, grid: Grid, stage: int) -> list[list[tuple[Layer, int]]]:
        """The different layers of each chunk of a pipeline stage."""
        return [self.kinds(span) for span in self.chunks(grid, stage)]

    def parameters(self, grid: Grid, stage: int) -> Shard:
        """Parameters that a rank of a stage holds."""
        return _sum(kind for chunk in self.of_stage(grid, stage) for kind in chunk)


def _sum(kinds: Iterable[tuple[Layer, int]]) -> Shard:
    dense = expert = 0
    for layer, count in kinds:
        dense += count * layer.parameters.dense
        expert += count * layer.parameters.expert
    return Shard(dense, expert)


def stage_memory(
    config: RunConfig, share: Share, grid: Grid, stage: int, microbatches: int, keeps: Keeps | None = None
) -> StageMemory:
    """Memory of one rank of a stage, at the fullest moment of a step.

    The optimizer's states are divided over the replicas by the distributed optimizer (ZeRO-1). FSDP also divides
    gradients (ZeRO-2) and parameters (ZeRO-3), arXiv 1910.02054, sections 3.1 and 5, and holds some of it whole for a
    while. Not counted: the padding of buckets, at most 2^16 of 4 x 10^7 elements or more, 0.2%.

    keeps: None: what this project's trainer keeps.
    """
    keeps, chunks = keeps or Keeps.of(config), share.of_stage(grid, stage)
    kinds = [kind for chunk in chunks for kind in chunk]
    dense, expert = _sum(kinds)
    layout = config.parallelism
    strategy = layout.data_parallel_sharding_strategy
    whole, cut = dense + expert, -(-dense // (grid.dp * grid.cp)) + -(-expert // grid.expert_dp)
    passing = _passing(config, share, chunks, grid, stage, microbatches)
    moment = max(_moments(config, kinds, grid, keeps, passing), key=sum)
    stable = StageMemory.model_construct(
        stage=stage,
        parameters=keeps.parameter * (cut if strategy == "optim_grads_params" else whole),
        gradients=keeps.gradient * (cut if strategy else whole),
        optimizer_states=keeps.state * (cut if layout.use_distributed_optimizer else whole),
        **moment._asdict(),
        buffers=overheads.exchanged(config, grid, passing.sent, passing.shared, passing.blocks),
        framework=overheads.of_framework(config, grid),
    )
    return stable.model_copy(
        update={"fragmentation": overheads.fragmentation(config, sum(moment), stable.total)}
    )


def fullest(config: RunConfig, share: Share, grid: Grid, microbatches: int) -> StageMemory:
    """The memory of the fullest stage, and not of all: of stages with the same layers the first holds most.

    For those who compare many layouts.
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


class _Moment(NamedTuple):
    """What there is at a moment of a step, in bytes."""

    activations: int
    logits: int
    gathered: int


def _moments(
    config: RunConfig, kinds: Sequence[tuple[Layer, int]], grid: Grid, keeps: Keeps, passing: "_Passing"
) -> Iterator[_Moment]:
    """Those at which a stage may be fullest: in the head, and in the first backward pass of a layer.

    With FSDP also at the end of the backward pass. It has whole parameters of what is outside of blocks, and of blocks
    ahead, and from the first one on whole gradients, of what is outside and of a block, or without whole parameters
    (ZeRO-2) of a bucket. Gradients wait for their reduction; by then as large a part of the activations and of the
    whole parameters is gone. At the end there is this rank's part of their sum, too.
    """
    strategy = config.parallelism.data_parallel_sharding_strategy
    if strategy is None:
        yield _Moment(passing.kept, passing.held, 0)
        yield _Moment(passing.kept + passing.inside, 0, 0)
        return
    whole, outside, ahead, bucket = _sum(kinds).total, 0, 0, 0
    if strategy == "optim_grads_params":
        outside = _sum(kind for kind in kinds if not kind[0].block).total
        largest = max((layer.parameters.total for layer, _ in kinds if layer.block), default=0)
        ahead = keeps.whole * min(whole, outside + largest + keeps.ahead)
        bucket = keeps.gradient * (outside + largest)
    else:
        bucket = keeps.gradient * min(whole, switches.BUCKET)
    yield _Moment(passing.kept, passing.held, ahead)
    yield _Moment(passing.kept + passing.inside, 0, ahead + bucket)
    waiting = min(whole, keeps.waiting)
    left, part = whole - waiting, keeps.gradient * -(-waiting // (grid.dp * grid.cp))
    kept = keeps.whole * outside
    gathered = kept + (ahead - kept) * left // whole + keeps.gradient * waiting
    yield _Moment(passing.kept * left // whole + passing.inside, 0, gathered)
    yield _Moment(0, 0, gathered + part)


class _Passing(NamedTuple):
    """Bytes of what passes through a stage."""

    kept: int
    """Of all microbatches in flight, until their backward passes."""
    inside: int
    """Besides, in the backward pass of the layer that needs most."""
    held: int
    """Besides, in the head."""
    sent: int
    """What a layer hands on."""
    shared: int
    """Of buffers that layers use one after the other."""
    blocks: int
    """How many there are."""


def _passing(
    config: RunConfig,
    share: Share,
    chunks: list[list[tuple[Layer, int]]],
    grid: Grid,
    stage: int,
    microbatches: int,
) -> _Passing:
    """Each chunk's passes are as many as the others', or one more."""
    virtual = config.parallelism.virtual_stages
    passes = chunks_in_flight(grid.pp, virtual, microbatches, stage)
    keeps_sent = not switches.releases_outputs(config.parallelism, switches.installed())
    kept = inside = held = sent = shared = blocks = 0
    for number, kinds in enumerate(chunks):
        in_flight = passes // virtual + (number < passes % virtual)
        for layer, count in kinds:
            kept += in_flight * count * layer.kept_bytes
            inside, held = max(inside, layer.inside_bytes), held + count * layer.held_bytes
            shared, sent = max(shared, layer.shared_bytes), max(sent, layer.sent_bytes)
            blocks += count * layer.block
        span = share.spans[number * grid.pp + stage]
        if keeps_sent and span is not share.spans[-1]:
            kept += in_flight * share.layers[span.stop - 1].sent_bytes
    return _Passing(kept, inside, held, sent, shared, blocks)
