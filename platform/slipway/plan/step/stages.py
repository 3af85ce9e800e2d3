"""Sums over the layers of pipeline stages."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.models.family import Layer, Shard
from slipway.models.work import Work
from slipway.plan.layout import Grid
from slipway.plan.step.groups import Rings
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.layer import Rounds, Seconds, rounds


class Job(NamedTuple):
    """What is evaluated: a layout with the work of its layers."""

    config: RunConfig
    grid: Grid
    layers: Sequence[Layer]
    work: Sequence[Work]
    """Of each layer."""
    spans: Sequence[range]
    """Layers of each model chunk: chunk v x stages + p is virtual stage v of stage p."""
    microbatches: float
    gradient_bytes: int = 4
    """Of each gradient that is exchanged."""
    scattered_sends: bool = False
    """Stages send a part from each tensor-parallel rank, and gather it."""

    def chunks(self, stage: int) -> Sequence[range]:
        """Layers of each chunk of a stage."""
        return self.spans[stage :: self.grid.pp]


class Stage(NamedTuple):
    """One rank of a pipeline stage and one microbatch."""

    shard: Shard
    forward: float
    behind: float
    """Seconds of the backward pass, with what it computes again."""
    layers: int


def clocks(job: Job, rings: Rings, hardware: Hardware) -> list[Rounds]:
    """Seconds of each layer's passes; layers that are one object are looked up once."""
    known: dict[int, Rounds] = {}
    for work in job.work:
        if id(work) not in known:
            known[id(work)] = rounds(work, rings, hardware)
    return [known[id(work)] for work in job.work]


def stages(job: Job, times: Sequence[Rounds]) -> list[Stage]:
    """All stages, by differences of running sums."""
    totals = {id(each): (each.forward.total, each.behind) for each in times}
    forward = _running(totals[id(each)][0] for each in times)
    behind = _running(totals[id(each)][1] for each in times)
    dense = _running(layer.parameters.dense for layer in job.layers)
    expert = _running(layer.parameters.expert for layer in job.layers)

    def over(sums: Sequence[float], stage: int) -> float:
        return sum(sums[span.stop] - sums[span.start] for span in job.chunks(stage))

    return [
        Stage(
            Shard(int(over(dense, stage)), int(over(expert, stage))),
            over(forward, stage),
            over(behind, stage),
            sum(len(span) for span in job.chunks(stage)),
        )
        for stage in range(job.grid.pp)
    ]


def _running(values: Iterable[float]) -> list[float]:
    return [0, *accumulate(values)]


def parts(job: Job, times: Sequence[Rounds], stage: int) -> tuple[Seconds, Seconds]:
    """Seconds of a stage's microbatch by part: of its passes, and of what is computed again."""
    counts: dict[int, int] = {}
    known = {id(each): each for each in times}
    for span in job.chunks(stage):
        for number in span:
            counts[id(times[number])] = counts.get(id(times[number]), 0) + 1
    passes, again = [0.0] * len(Seconds._fields), [0.0] * len(Seconds._fields)
    for key, count in counts.items():
        clock = known[key]
        for part, (one, other, repeated) in enumerate(
            zip(clock.forward, clock.backward, clock.again, strict=True)
        ):
            passes[part] += count * (one + other)
            again[part] += count * repeated
    return Seconds(*passes), Seconds(*again)
