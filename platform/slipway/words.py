"""Numbers in the form in which people read them: durations, sizes, quantities, times, layouts. One spelling of each."""

import math
import time
from collections.abc import Mapping

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def duration(seconds: float) -> str:
    """Return a time of `seconds` in at most two units: `250 ms`, `12.3 s`, `7 min 03 s`, `2 h 05 min`, `3 d 04 h`."""
    if seconds < 5e-7:
        return "0 s"
    for unit, length in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = float(f"{seconds / length:.3g}")
        if value < (60 if unit == "s" else 1000):
            return f"{value:g} {unit}"
    for large, most, small, length in (("min", 60, "s", 1), ("h", 24, "min", 60)):
        whole, rest = divmod(round(seconds / length), 60)
        if whole < most:
            return f"{whole} {large} {rest:02} {small}"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days:,} d {hours:02} h"


def size(count: float) -> str:
    """Return `count` bytes with four significant digits and a binary unit: `39.21 GiB`."""
    power = 0
    while power < len(_BINARY) - 1 and float(f"{count / 1024**power:.4g}") >= 1024:
        power += 1
    value = float(f"{count / 1024**power:.4g}")
    return f"{value:,.0f} {_BINARY[power]}" if value >= 1000 else f"{value:g} {_BINARY[power]}"


def quantity(value: float, unit: str = "") -> str:
    """Return a number of `unit` with three significant digits and an SI prefix: `1.25 GFLOP`."""
    if value == 0:
        return f"0 {unit}".strip()
    power = min(max(int(math.floor(math.log10(abs(value)) / 3)), 0), len(_PREFIXES) - 1)
    if abs(float(f"{value / 1000**power:.3g}")) >= 1000 and power < len(_PREFIXES) - 1:
        power += 1
    return f"{value / 1000**power:.3g} {_PREFIXES[power]}{unit}".strip()


def figure(value: float) -> str:
    """Return a number with at least three significant digits and its thousands separated: `12.3`, `1,234,567`."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """Return a point in time, in Unix seconds, as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def plural(noun: str) -> str:
    """Return a noun's plural: tokens, patches."""
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: 1 replica, 2 replicas, 1,024 microbatches."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def layout(sizes: Mapping[str, int]) -> str:
    """Return `TP2 × PP2 × DP2` for the sizes of the parallel dimensions, without those of size 1; else `one rank`."""
    return " × ".join(f"{name}{size}" for name, size in sizes.items() if size > 1) or "one rank"
