"""Speed-up and parallel efficiency with their confidence: pure functions of times."""

import math
from dataclasses import dataclass
from statistics import fmean, variance

LEVEL = 0.95
"""Confidence level of every interval."""


@dataclass(frozen=True)
class Timing:
    """One size of a measurement."""

    devices: int
    """Or nodes: the unit in which sizes are counted."""
    seconds: tuple[float, ...]
    """The seconds of each repeat, in order: of a step, or of a whole run."""
    work: float = 1.0
    """Done in that time, in any unit: alike at all sizes (strong scaling), or growing with them (weak scaling)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats, and the ends of its interval of LEVEL; without an interval if only one repeat was made."""

    value: float
    low: float | None = None
    high: float | None = None

    def over(self, number: float) -> "Estimate":
        """Return the estimate divided by a number, its interval too."""
        low, high = (None if end is None else end / number for end in (self.low, self.high))
        return Estimate(self.value / number, low, high)


def step_time(timing: Timing) -> Estimate:
    """Return the geometric mean of the repeats' seconds, with Student's interval of their logarithms.

    Times on a shared machine are skewed to the right, and all that is made of them are ratios: logarithms suit both.
    """
    logs = [math.log(one) for one in timing.seconds]
    if len(logs) < 2:
        return Estimate(math.exp(logs[0]))
    return _interval(fmean(logs), variance(logs) / len(logs), len(logs) - 1)


def speed_up(base: Timing, other: Timing) -> Estimate:
    """Return how many times as much `other` does in a second as `base`.

    With equal work it is T(base) / T(other) (Amdahl 1967); with work that grows it is the scaled speed-up (Gustafson,
    CACM 31(5), 1988). Sizes take turns, so a slow hour of the machine meets a repeat of each: the interval is Student's
    of the repeats' own ratios. With more repeats of one than of the other it is Welch's (Biometrika 34, 1947).
    """
    if base is other:
        return Estimate(1.0, 1.0, 1.0)
    here, there = ([math.log(one) for one in timing.seconds] for timing in (base, other))
    ratio = math.log(other.work / base.work) + fmean(here) - fmean(there)
    if len(here) < 2 or len(there) < 2:
        return Estimate(math.exp(ratio))
    if len(here) == len(there):
        own = [a - b for a, b in zip(here, there, strict=True)]
        return _interval(ratio, variance(own) / len(own), len(own) - 1)
    parts = [variance(logs) / len(logs) for logs in (here, there)]
    error = sum(parts)
    if error == 0:
        return Estimate(math.exp(ratio), math.exp(ratio), math.exp(ratio))
    freedom = error**2 / sum(p**2 / (len(s) - 1) for p, s in zip(parts, (here, there), strict=True))
    return _interval(ratio, error, freedom)


def ideal(base: Timing, other: Timing) -> float:
    """Return the speed-up if nothing is lost: the ratio of the devices."""
    return other.devices / base.devices


def efficiency(base: Timing, other: Timing) -> Estimate:
    """Return the speed-up's share of the ideal one."""
    return speed_up(base, other).over(ideal(base, other))


def student(freedom: float) -> float:
    """Return the t that a variable of Student's distribution exceeds in size with probability 1 - LEVEL.

    Degrees of freedom are rounded down, which makes intervals wider, never narrower. By bisection of the closed forms
    for whole numbers: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    whole = max(1, min(1000, math.floor(freedom)))
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, whole) < LEVEL else (low, middle)
    return math.sqrt(whole) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """Return the probability that |t| is below sqrt(freedom) x tan(angle)."""
    cosine, odd = math.cos(angle), freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))


def _interval(mean: float, squared_error: float, freedom: float) -> Estimate:
    reach = student(freedom) * math.sqrt(squared_error)
    return Estimate(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))
