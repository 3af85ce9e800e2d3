"""The division of a model's layers among pipeline stages. Pure arithmetic.

A model chunk is what one virtual stage of a pipeline stage holds: chunk v x P + p is virtual stage v of stage p. Cuts
are made in front of blocks; a layer that is no block (embedding, head) stays with the block next to it. Only the first
chunk may be without a block, if layers come before the blocks, and the last one, if layers follow them.
"""

from collections.abc import Sequence
from heapq import heapify, heapreplace
from itertools import accumulate
from typing import NamedTuple

from slipway.config.schema import Parallelism
from slipway.errors import UserError

FIELD = "parallelism.pipeline_layout"


class _Model(NamedTuple):
    """A model as it is cut into chunks."""

    starts: list[int]
    """The index of each block's layer."""
    end: int
    """The index of the layer after the last block."""
    layers: int
    costs: list[float]
    """The cost of each block, with the other layers up to the next one."""
    before: float
    """The cost of the layers before the blocks."""
    after: float
    """The cost of the layers after the blocks."""

    @classmethod
    def of(cls, is_block: Sequence[bool], costs: Sequence[float]) -> "_Model":
        starts = [number for number, block in enumerate(is_block) if block]
        end = starts[-1] + 1
        ends = [*starts[1:], end]
        return cls(
            starts=starts,
            end=end,
            layers=len(is_block),
            costs=[float(sum(costs[start:stop])) for start, stop in zip(starts, ends, strict=True)],
            before=float(sum(costs[: starts[0]])),
            after=float(sum(costs[end:])),
        )

    def fewest(self, chunks: int) -> list[int]:
        """Return the fewest blocks that each chunk can have."""
        if chunks == 1:
            return [len(self.starts)]
        return [int(self.starts[0] == 0), *[1] * (chunks - 2), int(self.end == self.layers)]


def shared_out(
    is_block: Sequence[bool], costs: Sequence[float], layout: Parallelism, *, always_level: bool = False
) -> list[range]:
    """Return the layers of each model chunk of a layout, in pipeline order.

    `parallelism.pipeline_layout` decides, if it is set. Otherwise, if all blocks cost the same: each chunk gets equally
    many if they divide; if not, the most expensive stage is made as cheap as possible, and within each stage the most
    expensive chunk. If blocks differ in cost, the most expensive chunk is made as cheap as possible.

    is_block: of each layer (see slipway.models.family.Layer). costs: of each layer, in any one unit of time.
    always_level: level stages even if blocks divide; for models whose other layers cost much.
    Raises UserError if there are too few blocks, or if the field does not fit the model and the layout.
    """
    stages, virtual = layout.pipeline_model_parallel_size, layout.virtual_stages
    model = _Model.of(is_block, costs)
    if layout.pipeline_layout is not None:
        counts = _forced(model, layout.pipeline_layout, stages, virtual)
    else:
        counts = _planned(model, stages, virtual, always_level)
    cuts = accumulate(counts[:-1])
    starts = [0, *(model.starts[cut] if cut < len(model.starts) else model.end for cut in cuts)]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], model.layers], strict=True)]


def _planned(model: _Model, stages: int, virtual: int, always_level: bool) -> list[int]:
    """Return the number of blocks of each chunk, by the planner. Raises UserError if there are too few."""
    chunks, blocks = stages * virtual, len(model.starts)
    fewest = model.fewest(chunks)
    if sum(fewest) > blocks:
        raise UserError(
            "parallelism.pipeline_model_parallel_size",
            f"makes {_in_words(stages, virtual)} model chunks, which need at least {sum(fewest)} layers, but the model "
            f"has {blocks}",
            value=stages,
            use=f"at most {(blocks + chunks - sum(fewest)) // virtual}",
        )
    if len(set(model.costs)) > 1:
        return _balanced(model, fewest)
    if blocks % chunks == 0 and not always_level:
        return [blocks // chunks] * chunks
    return _leveled(model, fewest, stages)


def _in_words(stages: int, virtual: int) -> str:
    return f"pipeline {stages} x virtual {virtual} = {stages * virtual}" if virtual > 1 else str(stages)


def _forced(model: _Model, counts: Sequence[int], stages: int, virtual: int) -> list[int]:
    """Return the number of blocks of each chunk, as the user set it. Raises UserError if they do not fit."""
    chunks, blocks = stages * virtual, len(model.starts)
    given, fitting = list(counts), f"{chunks} numbers that sum to {blocks}"
    if stages == 1:
        raise UserError(FIELD, "has no effect with pipeline_model_parallel_size 1", value=given, use="null")
    if len(given) != chunks:
        raise UserError(
            FIELD,
            f"has {len(given)} model chunks, but the layout has {_in_words(stages, virtual)}",
            value=given,
            use=fitting,
        )
    if sum(given) != blocks:
        raise UserError(
            FIELD, f"distributes {sum(given)} layers, but the model has {blocks}", value=given, use=fitting
        )
    for chunk, (count, fewest) in enumerate(zip(given, model.fewest(chunks), strict=True)):
        if count < fewest:
            raise UserError(
                FIELD,
                f"leaves no layer to virtual stage {chunk // stages} of stage {chunk % stages} (both from 0)",
                value=given,
                use=f"{fitting}, number {chunk + 1} at least 1",
            )
    return given


def _leveled(model: _Model, fewest: Sequence[int], stages: int) -> list[int]:
    """Return the number of blocks of each chunk, for blocks that all cost the same.

    Stages are leveled first, then the chunks of each stage.
    """
    one, chunks = model.costs[0], len(fewest)
    loads = [count * one for count in fewest]
    loads[0] += model.before
    loads[-1] += model.after
    totals = [sum(loads[stage::stages]) for stage in range(stages)]
    counts = list(fewest)
    for stage, more in enumerate(_spread(totals, one, len(model.starts) - sum(fewest))):
        for chunk, its in zip(
            range(stage, chunks, stages), _spread(loads[stage::stages], one, more), strict=True
        ):
            counts[chunk] += its
    return counts


def _spread(loads: Sequence[float], one: float, number: int) -> list[int]:
    """Return how many of `number` equal jobs each machine takes, so that the largest load is as small as possible.

    Each job goes to the smallest load, which is optimal for equal jobs whatever the loads before; of equal loads, to
    the last one: later stages and chunks hold the activations of fewer microbatches.
    """
    queue = [(load, -place) for place, load in enumerate(loads)]
    heapify(queue)
    taken = [0] * len(loads)
    for _ in range(number):
        load, place = queue[0]
        taken[-place] += 1
        heapreplace(queue, (load + one, place))
    return taken


def _balanced(model: _Model, fewest: Sequence[int]) -> list[int]:
    """Return the number of blocks of each chunk that makes the most expensive chunk as cheap as possible.

    This is the linear partition problem, solved by dynamic programming.
    """
    blocks, chunks = len(model.starts), len(fewest)
    sums = [0.0, *accumulate(model.costs)]
    dearest = [0.0, *[float("inf")] * blocks]  # the highest cost of a chunk so far, by the blocks in them
    cuts: list[list[int]] = []
    for chunk, least in enumerate(fewest):
        ends = model.before * (chunk == 0) + model.after * (chunk == chunks - 1)
        options = [
            [(max(dearest[start], sums[end] - sums[start] + ends), start) for start in range(end - least + 1)]
            or [(float("inf"), 0)]
            for end in range(blocks + 1)
        ]
        dearest, cut = (list(values) for values in zip(*map(min, options), strict=True))
        cuts.append(cut)
    counts, end = [], blocks
    for cut in reversed(cuts):
        counts.append(end - cut[end])
        end = cut[end]
    return counts[::-1]
