"""Published rows through the model of a step: predicted against measured seconds, by source and half."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from statistics import mean, median
from typing import NamedTuple

from published.cases import Case, case_of
from published.rows import sayable
from slipway.models import family
from slipway.models.gpt import work
from slipway.plan.step.devices import hardware_of
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.stages import Job
from slipway.plan.step.step import StepSeconds, step_seconds


class Outcome(NamedTuple):
    """One row."""

    case: Case
    step: StepSeconds

    @property
    def error(self) -> float:
        """Predicted over measured seconds, less one."""
        return self.step.total / self.case.seconds - 1


class Errors(NamedTuple):
    """Of several rows, absolute but for `bias`."""

    rows: int
    bias: float
    mean: float
    median: float
    ninth: float
    """Nine rows of ten are within it."""
    worst: float
    within: float
    """Share of the rows within 20%."""


def job_of(case: Case) -> Job:
    """What the model evaluates, with the traits of the row's framework."""
    config, traits = case.config, case.framework.traits
    layout, training = config.parallelism, config.training
    scattered = traits.scattered_sends and layout.tensor_model_parallel_size > 1
    return Job(
        config,
        case.grid,
        family(config).layers(config, layout),
        work.layers(config, layout, traits),
        case.spans,
        training.global_batch_size / (training.micro_batch_size * case.grid.dp),
        case.framework.gradient_bytes,
        scattered and not layout.sequence_parallel,
    )


@cache
def cases() -> tuple[tuple[Case, Job, Hardware], ...]:
    """Every row that can be planned, with its work and its hardware."""
    found = []
    for row in sayable():
        case = case_of(row)
        hardware = hardware_of(case.config)
        assert hardware is not None
        found.append((case, job_of(case), hardware))
    return tuple(found)


def outcomes() -> list[Outcome]:
    """Evaluate every row with the constants of conf/devices.yaml."""
    return [Outcome(case, step_seconds(job, hardware)) for case, job, hardware in cases()]


def errors(found: Iterable[Outcome]) -> Errors:
    """Sum up rows."""
    signed = [outcome.error for outcome in found]
    sizes = sorted(map(abs, signed))
    return Errors(
        len(sizes),
        mean(signed),
        mean(sizes),
        median(sizes),
        sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))],
        sizes[-1],
        sum(size <= 0.2 for size in sizes) / len(sizes),
    )


def by_source(found: Sequence[Outcome]) -> dict[tuple[str, str], Errors]:
    """Errors of each source's halves."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in found:
        groups[outcome.case.row.source, outcome.case.row.half].append(outcome)
    return {key: errors(rows) for key, rows in groups.items()}
