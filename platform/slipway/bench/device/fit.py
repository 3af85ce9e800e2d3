"""Fits the constants of the model of a step to measured times. Pure functions.

Each kind of work is a sum of few terms, each a number times a constant (slipway.plan.step.hardware has which). The
constants are those with the least relative error over all sizes, none below zero.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import Any

from slipway.bench.device.timed import Timed
from slipway.models.work import Product
from slipway.plan.step import groups
from slipway.plan.step.hardware import Hardware, Link, Rates
from slipway.plan.step.layer import product_seconds

EXCHANGES = ("all_reduce", "all_gather", "reduce_scatter")


def hardware(samples: Sequence[Sequence[Timed]], *, device: str, precision: str, on_cpu: bool) -> Hardware:
    """Return the constants of a device and its links.

    samples: of each rank, all of the same work.
    """
    together, ranks = middle(samples), len(samples)
    found = rates(together, on_cpu=on_cpu)
    peak, bandwidth = found.pop("peak_tflops"), found.pop("memory_gb_per_s")
    links = Link(**(link(together, ranks) or {"gb_per_s": bandwidth, "share": 1.0}))
    return Hardware(
        device=device,
        precision=precision,
        peak_tflops=peak,
        memory_gb_per_s=bandwidth,
        rates=Rates(**found),
        inside=links,
        between=links,
        inside_devices=ranks,
    )


def middle(samples: Sequence[Sequence[Timed]]) -> list[Timed]:
    """Return the median time of each work over the ranks.

    For an exchange it is the longest, as the others wait for it.
    """
    return [
        work[0]._replace(seconds=(max if work[0].size else median)(one.seconds for one in work))
        for work in zip(*samples, strict=True)
    ]


def predicted(one: Timed, constants: Hardware, ranks: int) -> float | None:
    """Return the seconds that the constants give for a work; None for work that constants are taken from directly."""
    if one.kind in ("linear", "grouped"):
        m, n, k = one.shape
        count = round(one.flop / (2.0 * m * n * k))
        size = round((one.moved_bytes / count - one.output_bytes * m * n) / (k * (m + n)))
        product = Product(m, n, k, count, one.kind, 1.0, size, one.output_bytes)  # type: ignore[arg-type]
        return product_seconds(product, constants)
    if one.kind in ("attention", "attention_backward"):
        tokens, heads, head = one.shape
        count = (2 if one.kind == "attention" else 5) * heads
        product = Product(tokens, tokens, head, count, "attention", 0.5)
        return product_seconds(product, constants, backward=one.kind != "attention")
    if one.kind in EXCHANGES:
        place = groups.Ring(ranks, ranks)
        return groups.seconds(one.kind, one.size, place, constants)  # type: ignore[arg-type]
    return None


def table(samples: Sequence[Timed], constants: Hardware, ranks: int) -> list[tuple[str, int, str, float]]:
    """Return a row for each kind of work: its name, how many sizes, the best rate, the constants' median error."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in samples):
        found = [
            (one, seconds)
            for one in samples
            if one.kind == kind and (seconds := predicted(one, constants, ranks))
        ]
        if not found:
            continue
        errors = [abs(seconds / one.seconds - 1) for one, seconds in found]
        best = max((one.flop or one.size) / one.seconds for one, _ in found)
        unit = f"{best / 1e9:.3g} GB/s" if kind in EXCHANGES else f"{best / 1e12:.3g} TFLOP/s"
        rows.append((kind.replace("_", " "), len(found), unit, median(errors)))
    return rows


def nonnegative_least_squares(rows: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Return constants, none below zero, whose sums of terms are closest to the times, relative to each time.

    Args:
        rows: Terms of each time: how much of each constant is in it.
        seconds: The times.
    """
    import numpy

    terms = numpy.array(rows, dtype=float) / numpy.array(seconds, dtype=float)[:, None]
    width, best, found = terms.shape[1], float("inf"), [0.0] * terms.shape[1]
    scale = numpy.abs(terms).max(axis=0)
    scale[scale == 0] = 1.0
    for count in range(1, width + 1):
        for chosen in combinations(range(width), count):
            part = terms[:, chosen] / scale[list(chosen)]
            solution = numpy.linalg.lstsq(part, numpy.ones(len(rows)), rcond=None)[0]
            error = float(((part @ solution - 1) ** 2).sum())
            if (solution >= 0).all() and error < best:
                best, found = error, [0.0] * width
                for place, value in zip(chosen, solution / scale[list(chosen)], strict=True):
                    found[place] = float(value)
    return found


def rates(samples: Sequence[Timed], *, on_cpu: bool) -> dict[str, Any]:
    """Return the fields of Rates, with `peak_tflops` and `memory_gb_per_s` beside them.

    The peak is that of the fastest product measured, and the bandwidth that of the copy.
    """
    linear = [one for one in samples if one.kind == "linear"]
    peak = max(one.flop / one.seconds for one in linear)
    copied = next(one for one in samples if one.kind == "copy")
    bandwidth = copied.moved_bytes / copied.seconds
    fixed, each, moved = nonnegative_least_squares(
        [(1.0, one.flop / peak, one.moved_bytes / bandwidth) for one in linear],
        [one.seconds for one in linear],
    )
    product_share = min(1.0, 1 / each) if each else 1.0

    def share(kind: str) -> float:
        """Return the median share of the peak over the sizes, the products' fixed time subtracted."""
        found = [
            one.flop / max(one.seconds - fixed, 0.1 * one.seconds) / peak
            for one in samples
            if one.kind == kind
        ]
        return min(1.0, median(found)) if found else product_share

    wide = next(one for one in samples if one.kind == "operators")
    small = next(one for one in samples if one.kind == "small")
    kernel = small.seconds / small.calls
    of_bytes = max(wide.seconds - wide.calls * kernel, 0.1 * wide.seconds)
    small_product = next(one for one in samples if one.kind == "small_product")
    return {
        "peak_tflops": peak / 1e12,
        "memory_gb_per_s": bandwidth / 1e9,
        "product_share": product_share,
        "grouped_share": share("grouped"),
        "product_us": max(fixed, small_product.seconds) * 1e6,
        "product_bytes": moved,
        "attention_share": share("attention"),
        "attention_backward_share": share("attention_backward"),
        "memory_share": min(1.0, wide.moved_bytes / of_bytes / bandwidth),
        "kernel_us": kernel * 1e6,
        "launch_us": 0.0
        if on_cpu
        else kernel * 1e6,  # a CPU launches nothing: the call's own time is counted already
        "contention": contention(samples),
    }


def contention(samples: Sequence[Timed]) -> float:
    """Return the share of an exchange's time that the work beside it loses, 0 to 1; 0 with one rank."""
    return next((min(1.0, one.seconds / one.size) for one in samples if one.kind == "beside"), 0.0)


def link(samples: Sequence[Timed], ranks: int) -> dict[str, float] | None:
    """Return the fields of Link; None if nothing was exchanged.

    Each exchange takes latency + times x (hops + size x (ranks - 1) / ranks / bandwidth), with times = 2 for
    all_reduce: slipway.plan.step.groups.
    """
    found = [one for one in samples if one.kind in EXCHANGES]
    if not found:
        return None
    rows = []
    for one in found:
        times = 2 if one.kind == "all_reduce" else 1
        rows.append((1.0, times * (ranks - 1), times * one.size * (ranks - 1) / ranks))
    latency, hop, each = nonnegative_least_squares(rows, [one.seconds for one in found])
    fastest = max(row[2] / one.seconds for row, one in zip(rows, found, strict=True))
    return {
        "gb_per_s": (1 / each if each else fastest) / 1e9,
        "share": 1.0,  # what collectives reach is what was measured
        "latency_us": latency * 1e6,
        "hop_us": hop * 1e6,
    }
