"""Maps values to places on an axis, and chooses the values that are written beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

PREFIXES = ("", "k", "M", "G", "T", "P", "E")


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`; if it is logarithmic, both are larger than zero."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value on the axis, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values within the axis, about as many as asked for."""
        if self.log:
            decades = range(
                math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1
            )
            skip = max(1, math.ceil(len(decades) / about))
            if len(decades) > 1:
                return [10.0**power for power in decades[::skip]]
        step = round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def spanning(
    values: Sequence[float], *, zero: bool = False, log: bool = False, margin: float = 0.05
) -> Scale:
    """Return the scale that shows all values.

    zero: it begins there. margin: share of the whole that is added on either side.
    """
    low, high = min(values), max(values)
    if log:
        room = (high / low) ** margin if high > low else 2.0
        return Scale(low / room, high * room, log=True)
    low = min(low, 0.0) if zero else low
    room = margin * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low if zero and low == 0 else low - room, high + room)


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """Return a tick's value with the digits that tell it from its neighbours: `2.5`, `1.2 M`, `3e-4`, `1e7`."""
    largest, prefixes = max(map(abs, ticks)), len(PREFIXES) - 1
    decades = largest >= 10_000 and largest > 1000 * min(
        (abs(tick) for tick in ticks if tick), default=largest
    )
    if value == 0:
        return "0"
    if largest < 1e-2 or abs(value) < 1e-3 or decades:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(power)}"
    power = min(int(math.log10(largest) // 3), prefixes) if largest >= 10_000 else 0
    shown, step = value / 1000**power, min((b - a for a, b in pairwise(ticks)), default=value) / 1000**power
    digits = next((n for n in range(6) if abs(step * 10**n - round(step * 10**n)) < 1e-6 * step * 10**n), 6)
    return f"{shown:,.{digits}f} {PREFIXES[power]}".strip()
