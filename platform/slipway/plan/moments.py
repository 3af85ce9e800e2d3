"""What passes through a pipeline stage in a step, and the moments at which it may be fullest. Bytes on one rank."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.models.family import Layer, Shard
from slipway.plan import switches
from slipway.plan.keeps import Keeps
from slipway.plan.layout import Grid, chunks_in_flight

Kind = tuple[Layer, int]
"""A layer, and how often it occurs."""


def total_of(kinds: Iterable[Kind]) -> Shard:
    """Return the parameters of all of these layers."""
    dense = expert = 0
    for layer, count in kinds:
        dense += count * layer.parameters.dense
        expert += count * layer.parameters.expert
    return Shard(dense, expert)


def matrices_of(kinds: Iterable[Kind]) -> Shard:
    """Return those of the layers' parameters that are in hidden matrices."""
    dense = expert = 0
    for layer, count in kinds:
        dense += count * layer.matrices.dense
        expert += count * layer.matrices.expert
    return Shard(dense, expert)


class Passing(NamedTuple):
    """Bytes of what passes through a stage."""

    kept: int
    """Activations of all microbatches in flight, until their backward passes."""
    inside: int
    """Extra bytes in the backward pass of the layer that needs most."""
    held: int
    """Extra bytes in the head."""
    sent: int
    """The output of a layer."""
    shared: int
    """Buffers that layers use one after the other."""
    blocks: int
    """Number of blocks on the stage."""


def passing_through(
    config: RunConfig, chunks: Sequence[Sequence[Kind]], grid: Grid, stage: int, microbatches: int
) -> Passing:
    """Return what passes through a stage.

    Each of its chunks has as many passes in flight as the others, or one more.
    """
    virtual = config.parallelism.virtual_stages
    passes = chunks_in_flight(grid.pp, virtual, microbatches, stage)
    keeps_sent = not switches.releases_outputs(config.parallelism, switches.installed())
    kept = inside = held = sent = shared = blocks = 0
    for number, kinds in enumerate(chunks):
        in_flight, last = (
            passes // virtual + (number < passes % virtual),
            (number, stage) == (virtual - 1, grid.pp - 1),
        )
        for layer, count in kinds:
            kept += in_flight * count * layer.kept_bytes
            inside, held = max(inside, layer.inside_bytes), held + count * layer.held_bytes
            shared, sent = max(shared, layer.shared_bytes), max(sent, layer.sent_bytes)
            blocks += count * layer.block
        if keeps_sent and not last:
            kept += in_flight * max(layer.sent_bytes for layer, _ in kinds)
    return Passing(kept, inside, held, sent, shared, blocks)


class Moment(NamedTuple):
    """Bytes in use at a moment of a step."""

    activations: int
    head: int
    gathered: int


def moments(
    config: RunConfig, kinds: Sequence[Kind], grid: Grid, keeps: Keeps, passing: Passing
) -> Iterator[Moment]:
    """Yield the moments at which a stage may be fullest: in the head, and in the first backward pass of a layer.

    With FSDP also at the end of the backward pass. It has whole parameters of what is outside of blocks, and of blocks
    ahead, and from the first one on whole gradients, of what is outside and of a block, or without whole parameters
    (ZeRO-2) of a bucket. Gradients wait for their reduction; by then as large a part of the activations and of the
    whole parameters is gone. At the end this rank's part of their sum is held, too.
    """
    strategy = config.parallelism.data_parallel_sharding_strategy
    if strategy is None:
        yield Moment(passing.kept, passing.held, 0)
        yield Moment(passing.kept + passing.inside, 0, 0)
        return
    whole, outside, ahead, bucket = total_of(kinds).total, 0, 0, 0
    if strategy == "optim_grads_params":
        outside = total_of(kind for kind in kinds if not kind[0].block).total
        largest = max((layer.parameters.total for layer, _ in kinds if layer.block), default=0)
        ahead = keeps.whole * min(whole, outside + largest + keeps.ahead)
        bucket = keeps.gradient * (outside + largest)
    else:
        bucket = keeps.gradient * min(whole, switches.BUCKET)
    yield Moment(passing.kept, passing.held, ahead)
    yield Moment(passing.kept + passing.inside, 0, ahead + bucket)
    waiting = min(whole, keeps.waiting)
    left, part = whole - waiting, keeps.gradient * -(-waiting // (grid.dp * grid.cp))
    kept = keeps.whole * outside
    gathered = kept + (ahead - kept) * left // whole + keeps.gradient * waiting
    yield Moment(passing.kept * left // whole + passing.inside, 0, gathered)
    yield Moment(0, 0, gathered + part)
