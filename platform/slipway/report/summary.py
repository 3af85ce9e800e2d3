"""The numbers of a run that are worth a table: pure functions of its metrics and its plan."""

from dataclasses import dataclass
from statistics import fmean, median

from slipway import words
from slipway.plan import Plan
from slipway.plan.facts import sizes_of
from slipway.report.metrics import Metrics, numbers


@dataclass(frozen=True)
class Summary:
    """None: the run did not record it. A last or best value needs a second one to differ from."""

    step: int
    first_loss: float | None
    last_loss: float | None
    first_validation: float | None
    last_validation: float | None
    best_validation: tuple[int, float] | None
    """(step, loss)."""
    tokens: float | None
    """Trained on, of the steps that count."""
    units_per_second: float | None
    """Median over the steps, as all rates here."""
    step_seconds: float | None
    tflops_per_device: float | None
    mfu: float | None
    memory_gib: float | None
    """Largest."""
    data_wait: float | None
    """Share of the steps' time spent waiting for data."""
    seconds_in_steps: float
    wall_seconds: float | None
    """From the first line to the last, pauses between segments included."""


def summarize(metrics: Metrics, plan: Plan | None) -> Summary:
    """The summary; at least one training line is there."""
    losses, validation = (
        metrics.column("loss")[1],
        list(zip(*numbers(metrics.validation, "loss"), strict=True)),
    )
    seconds = sum(metrics.column("step_seconds")[1])
    times = numbers(metrics.train + metrics.validation, "time")[1]
    waited = metrics.column("data_wait_seconds")[1]
    return Summary(
        step=metrics.train[-1]["step"],
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if len(losses) > 1 else None,
        first_validation=validation[0][1] if validation else None,
        last_validation=validation[-1][1] if len(validation) > 1 else None,
        best_validation=min(validation, key=lambda point: point[1]) if len(validation) > 1 else None,
        tokens=_tokens(metrics, plan),
        units_per_second=_median(metrics, "units_per_second"),
        step_seconds=_median(metrics, "step_seconds"),
        tflops_per_device=_median(metrics, "tflops_per_device"),
        mfu=_median(metrics, "mfu"),
        memory_gib=max(metrics.column("memory_gib")[1], default=None),
        data_wait=sum(waited) / seconds if waited and seconds else None,
        seconds_in_steps=seconds,
        wall_seconds=max(times) - min(times) if times else None,
    )


def layout(plan: Plan) -> str:
    """Return `TP2 × PP2 × DP2`: the dimensions larger than one; `one rank` where there are none."""
    return words.layout(sizes_of(plan.config.parallelism, plan.data_parallel_size))


def smooth(values: list[float], window: int) -> list[float]:
    """Mean over `window` neighbours (odd), centred; fewer at the ends, as many on either side."""
    assert window % 2 == 1
    half, last = window // 2, len(values) - 1
    reaches = [min(half, at, last - at) for at in range(len(values))]
    return [fmean(values[at - reach : at + reach + 1]) for at, reach in enumerate(reaches)]


def _median(metrics: Metrics, name: str) -> float | None:
    values = metrics.column(name)[1]
    return median(values) if values else None


def _tokens(metrics: Metrics, plan: Plan | None) -> float | None:
    samples = metrics.column("consumed_samples")[1]
    if plan and samples:
        return samples[-1] * plan.units_per_sample
    rates, seconds = (
        dict(zip(*metrics.column(name), strict=True)) for name in ("units_per_second", "step_seconds")
    )
    return sum(rate * seconds.get(step, 0.0) for step, rate in rates.items()) or None
