"""Adds up times and parameters over the layers of pipeline stages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.models.family import Layer, Shard
from slipway.models.work import Work
from slipway.plan.layout import Grid
from slipway.plan.step.groups import Rings
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.layer import Rounds, Seconds, rounds


class Job(NamedTuple):
    """The input of the model of a step: a layout with the work of its layers."""

    config: RunConfig
    grid: Grid
    layers: Sequence[Layer]
    work: Sequence[Work]
    """The work of each layer."""
    spans: Sequence[range]
    """Layers of each model chunk: chunk v x stages + p is virtual stage v of stage p."""
    microbatches: float
    gradient_bytes: int = 4
    """Bytes of each gradient that is exchanged."""
    scattered_sends: bool = False
    """Stages send a part from each tensor-parallel rank, and gather it."""

    def chunks(self, stage: int) -> Sequence[range]:
        """Return the layers of each chunk of a stage."""
        return self.spans[stage :: self.grid.pp]


class Stage(NamedTuple):
    """The work of one rank of a pipeline stage for one microbatch."""

    shard: Shard
    forward: float
    behind: float
    """Seconds of the backward pass, with what it computes again."""
    layers: int
    matrices: Shard = Shard(0)
    """Those of the parameters that are in hidden matrices."""


def clocks(job: Job, rings: Rings, hardware: Hardware) -> list[Rounds]:
    """Return the seconds of each layer's passes; layers that are one object are looked up once."""
    known: dict[int, Rounds] = {}
    for work in job.work:
        if id(work) not in known:
            known[id(work)] = rounds(work, rings, hardware)
    return [known[id(work)] for work in job.work]


def stages(job: Job, times: Sequence[Rounds]) -> list[Stage]:
    """Return all stages; those with the same layers are one object."""
    numbers: dict[tuple[int, int], int] = {}
    kinds: list[tuple[Layer, Rounds]] = []
    numbered = []
    for layer, clock in zip(job.layers, times, strict=True):
        key = (id(layer), id(clock))
        if key not in numbers:
            numbers[key] = len(kinds)
            kinds.append((layer, clock))
        numbered.append(numbers[key])
    known: dict[tuple[tuple[int, int], ...], Stage] = {}
    found = []
    for stage in range(job.grid.pp):
        counts = Counter(numbered[number] for span in job.chunks(stage) for number in span)
        content = tuple(sorted(counts.items()))
        if content not in known:
            known[content] = _stage([(*kinds[kind], count) for kind, count in content])
        found.append(known[content])
    return found


def _stage(kinds: Iterable[tuple[Layer, Rounds, int]]) -> Stage:
    dense = expert = layers = 0
    forward, behind, matrices = 0.0, 0.0, Shard(0)
    for layer, clock, count in kinds:
        dense += count * layer.parameters.dense
        expert += count * layer.parameters.expert
        forward += count * clock.forward.total
        behind += count * clock.behind
        layers += count
        matrices += Shard(count * layer.matrices.dense, count * layer.matrices.expert)
    return Stage(Shard(dense, expert), forward, behind, layers, matrices)


def parts(job: Job, times: Sequence[Rounds], stage: int) -> tuple[Seconds, Seconds]:
    """Return the seconds of a stage's microbatch by part: of its passes, and of what is computed again."""
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
