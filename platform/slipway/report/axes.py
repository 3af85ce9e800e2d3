"""The quantities that a run's curves are drawn over: steps, the run's unit, hours."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from slipway.metrics.file import number
from slipway.report.metrics import Metrics
from slipway.report.run import Recorded

HOURS = (
    (172_800.0, 86_400.0, "days"),
    (7200.0, 3600.0, "hours"),
    (300.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)
"""Units of time: (seconds from which a time is written in it, its length in seconds, its name)."""


@dataclass(frozen=True)
class Axis:
    """Values by step; a missing step takes the value of the last one before it."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]

    def at(self, step: int) -> float:
        """Return the value at a step; 0 before the first."""
        place = bisect_right(self.steps, step)
        return self.values[place - 1] if place else 0.0


def units_axis(run: Recorded) -> Axis | None:
    """Return how much of the run's unit had been seen at each step; None if that was not recorded."""
    steps, samples = run.metrics.column("consumed_samples")
    size = run.units.units_per_sample
    if not steps or not size:
        return None
    return Axis(run.units.name, steps, [count * size for count in samples])


def time_axis(run: Recorded) -> Axis | None:
    """Return the seconds that the run had been running at the end of each step; None if that was not recorded.

    Pauses between segments do not count. Without a ledger the steps' own seconds are added up.
    """
    pairs = [(record["step"], number(record, "time")) for record in run.metrics.train]
    spans = [
        (one.started, max(one.started, one.updated if one.ended is None else one.ended))
        for one in run.overview.segments
    ]
    if spans and all(time is not None for _, time in pairs):
        before = list(accumulate((end - start for start, end in spans), initial=0.0))
        begins = [start for start, _ in spans]
        values = []
        for _, time in pairs:
            place = max(0, bisect_right(begins, time or 0.0) - 1)
            start, end = spans[place]
            values.append(before[place] + min(max((time or 0.0) - start, 0.0), end - start))
        return Axis("time", [step for step, _ in pairs], values)
    return _of_steps(run.metrics)


def _of_steps(metrics: Metrics) -> Axis | None:
    steps, seconds = metrics.column("step_seconds")
    return Axis("time", steps, list(accumulate(seconds))) if steps else None


def unit_of_time(longest: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit in which a time of `longest` seconds is written."""
    return next((length, name) for least, length, name in HOURS if longest >= least)
