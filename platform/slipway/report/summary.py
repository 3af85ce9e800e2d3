"""The numbers of a run that are worth a table: pure functions of its metrics and its plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from slipway import words
from slipway.plan import Plan
from slipway.plan.facts import sizes_of
from slipway.plan.units import Units
from slipway.report.metrics import Metrics, measures, numbers

Ends = tuple[float | None, float | None]
"""The first and the last of several values; None for the last if there is only one."""


@dataclass(frozen=True)
class Summary:
    """The numbers that a run recorded; None: it did not. The fields are named as in metrics.jsonl."""

    step: int
    loss: Ends
    measures: dict[str, Ends]
    """The family's measures of training besides the loss."""
    validation_loss: Ends
    best_validation: tuple[int, float] | None
    """(step, loss), if there is more than one."""
    validation_measures: dict[str, Ends]
    samples: float | None
    """Samples trained on, in the steps that count."""
    units: float | None
    """The same amount in the run's unit."""
    samples_per_second: float | None
    """Median over the steps, as all rates here."""
    units_per_second: float | None
    step_seconds: float | None
    tflops_per_device: float | None
    mfu: float | None
    mfu_palm: float | None
    peak_tflops: float | None
    """The newest peak."""
    peak: str
    """The source of the peak: profile, measured."""
    power_watts: float | None
    """Rank 0's, as the clock."""
    clock_mhz: float | None
    memory_gib: float | None
    """The largest."""
    data_wait: float | None
    """Share of the steps' time spent waiting for data."""
    seconds_in_steps: float
    wall_seconds: float | None
    """Seconds from the first line to the last, pauses between segments included."""


def summarize(metrics: Metrics, units: Units) -> Summary:
    """Return the summary of metrics with at least one training line."""
    steps, losses = numbers(metrics.validation, "loss")
    best = min(zip(losses, steps, strict=True), default=None)
    seconds = sum(metrics.column("step_seconds")[1])
    times = numbers(metrics.train + metrics.validation, "time")[1]
    waited = metrics.column("data_wait_seconds")[1]
    samples = _amount(metrics, "samples")
    size = units.units_per_sample
    return Summary(
        step=metrics.train[-1]["step"],
        loss=_ends(metrics.column("loss")[1]),
        measures={name: _ends(values) for name, (_, values) in measures(metrics.train).items()},
        validation_loss=_ends(losses),
        best_validation=(best[1], best[0]) if best and len(losses) > 1 else None,
        validation_measures={name: _ends(found) for name, (_, found) in measures(metrics.validation).items()},
        samples=samples,
        units=samples * size if samples is not None and size else _amount(metrics, "units"),
        samples_per_second=_median(metrics, "samples_per_second"),
        units_per_second=_median(metrics, "units_per_second"),
        step_seconds=_median(metrics, "step_seconds"),
        tflops_per_device=_median(metrics, "tflops_per_device"),
        mfu=_median(metrics, "mfu"),
        mfu_palm=_median(metrics, "mfu_palm"),
        peak_tflops=next(iter(metrics.column("peak_tflops")[1][-1:]), None),
        peak=metrics.peak,
        power_watts=_median(metrics, "power_watts"),
        clock_mhz=_median(metrics, "clock_mhz"),
        memory_gib=max(metrics.column("memory_gib")[1], default=None),
        data_wait=sum(waited) / seconds if waited and seconds else None,
        seconds_in_steps=seconds,
        wall_seconds=max(times) - min(times) if times else None,
    )


def layout(plan: Plan) -> str:
    """Return `TP2 × PP2 × DP2`: the dimensions larger than one; `one rank` if there are none."""
    return words.layout(sizes_of(plan.config.parallelism, plan.data_parallel_size))


def smooth(values: list[float], window: int) -> list[float]:
    """Return the centred means over `window` neighbours (odd); near the ends over fewer, as many on either side."""
    assert window % 2 == 1
    half, last = window // 2, len(values) - 1
    sums = list(accumulate(values, initial=0.0))
    reaches = [min(half, at, last - at) for at in range(len(values))]
    return [
        (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1) if reach else values[at]
        for at, reach in enumerate(reaches)
    ]


def _median(metrics: Metrics, name: str) -> float | None:
    values = metrics.column(name)[1]
    return median(values) if values else None


def _ends(values: Sequence[float]) -> Ends:
    return (values[0] if values else None, values[-1] if len(values) > 1 else None)


def _amount(metrics: Metrics, what: str) -> float | None:
    """Return the samples or units trained on: as counted, else as the rates add up."""
    consumed = metrics.column(f"consumed_{what}")[1]
    if consumed:
        return consumed[-1]
    rates, seconds = (
        dict(zip(*metrics.column(name), strict=True)) for name in (f"{what}_per_second", "step_seconds")
    )
    return sum(rate * seconds.get(step, 0.0) for step, rate in rates.items()) or None
