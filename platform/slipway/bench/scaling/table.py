"""Turns measurements into a table's rows: pure. And reads rows of a bench-scaling.json, checked."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from slipway import files
from slipway.bench.record import named
from slipway.bench.scaling.arithmetic import Estimate, Timing, efficiency, ideal, speed_up, step_time
from slipway.bench.scaling.points import Done
from slipway.bench.scaling.sizes import SCALINGS, Point
from slipway.errors import UserError
from slipway.metrics.step_time import KINDS
from slipway.plan.facts import sizes_of
from slipway.words import layout


@dataclass(frozen=True)
class Row:
    """A size of one scaling. Ends of intervals (95%, over repeats) are None if only one repeat was made."""

    scaling: str
    devices: int
    nodes: int = named(None)
    layout: str = named("layout")
    global_batch_size: int = named("batch")
    repeats: int = named("repeats")
    step_s: float = named("step (s)")
    step_s_low: float | None = named("from")
    step_s_high: float | None = named("to")
    planned_step_s: float | None = named("planned (s)")
    units_per_second: float = named("{units}/s")
    speed_up: float = named("speed-up")
    speed_up_low: float | None = named(None)
    speed_up_high: float | None = named(None)
    ideal_speed_up: float = named("ideal")
    efficiency: float = named("efficiency")
    efficiency_low: float | None = named("at least")
    efficiency_high: float | None = named("at most")
    tflops_per_device: float = named("TFLOP/s per device")
    mfu: float = named("MFU")
    memory_gib: float = named(None)
    planned_step_seconds: Mapping[str, float] | None = named(None)
    """The plan's parts of a step, by its own names: seconds that nothing else hides."""
    step_seconds: Mapping[str, float] = named(None)
    """Seconds by KINDS, mean of ranks and repeats: shares under the profiler times the step's seconds without it."""


@dataclass(frozen=True)
class Summary:
    """The conditions of the measurement."""

    model: str
    parameters: int
    precision: str
    cluster: str
    device: str
    threads: int | None = named("torch threads of a rank")
    steps: int = named("steps in each repeat")
    missing: int = named("repeats still missing")
    peak: str = named("the MFU is of a peak that is")
    remark: str | None = named("remark")


@dataclass(frozen=True)
class Measurement:
    """The content of a bench-scaling.json."""

    rows: list[Row]
    summary: Summary
    units: str
    record: dict[str, Any]
    """All of it: command, date, machine, versions too."""

    def of(self, scaling: str) -> list[Row]:
        """Return the rows of one scaling, the smallest size first."""
        return [row for row in self.rows if row.scaling == scaling]


def rows_of(done: Sequence[Done]) -> list[Row]:
    """Return a row for each measured size of each scaling; the smallest of them is the base."""
    by_point: dict[Point, list[Done]] = {}
    for one in done:
        by_point.setdefault(one.repeat.point, []).append(one)
    rows = []
    for scaling in SCALINGS:
        points = sorted((p for p in by_point if scaling in p.scalings), key=lambda point: point.size.devices)
        timings = [_timing(point, by_point[point]) for point in points]
        rows += [
            _row(scaling, point, by_point[point], timings[0], timing)
            for point, timing in zip(points, timings, strict=True)
        ]
    return rows


def _timing(point: Point, done: Sequence[Done]) -> Timing:
    seconds = tuple(one.record["summary"]["step_s"] for one in done)
    return Timing(point.size.devices, seconds, point.plan.config.training.global_batch_size)


def _row(scaling: str, point: Point, done: Sequence[Done], base: Timing, own: Timing) -> Row:
    plan, time = point.plan, step_time(own)
    faster, share = speed_up(base, own), efficiency(base, own)
    means = {
        name: fmean(one.record["summary"][name] * one.record["summary"]["step_s"] for one in done)
        / time.value
        for name in ("tflops_per_device", "mfu")
    }
    return Row(
        scaling=scaling,
        devices=point.size.devices,
        nodes=point.size.nodes,
        layout=layout(sizes_of(plan.config.parallelism, plan.data_parallel_size)),
        global_batch_size=plan.config.training.global_batch_size,
        repeats=len(done),
        step_s=time.value,
        step_s_low=time.low,
        step_s_high=time.high,
        planned_step_s=plan.time.seconds_per_step,
        units_per_second=plan.config.training.global_batch_size * plan.units_per_sample / time.value,
        **_ends("speed_up", faster),
        ideal_speed_up=ideal(base, own),
        **_ends("efficiency", share),
        **means,
        memory_gib=max(one.record["summary"]["memory_gib"] for one in done),
        planned_step_seconds=plan.time.step.parts if plan.time.step else None,
        step_seconds={kind: time.value * share for kind, share in _shares(done).items()},
    )


def _ends(name: str, found: Estimate) -> dict[str, Any]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _shares(done: Sequence[Done]) -> dict[str, float]:
    of_rows = [row["shares"] for one in done for row in one.record["rows"]]
    return {kind: fmean(shares[kind] for shares in of_rows) for kind in KINDS}


def read(path: Path) -> Measurement:
    """Return the measurement in a bench-scaling.json.

    Raises UserError, never ValueError, if it does not exist, is none, or holds fewer than two sizes of a scaling.
    """
    content = files.read(path)
    if content is None:
        raise UserError(path, "does not exist", do="measure with `slipway bench scaling`")
    try:
        record = json.loads(content)
        if record["benchmark"] != "scaling":
            raise ValueError("another benchmark")
        rows = [Row(**{one.name: row[one.name] for one in fields(Row)}) for row in record["rows"]]
        summary = Summary(**{one.name: record["summary"][one.name] for one in fields(Summary)})
        for row in rows:
            _check(row)
        machine, versions = record["machine"], record["versions"]
        usable = isinstance(machine, dict) and isinstance(versions, dict)
        found = Measurement(rows, summary, str(record["units"]), record)
    except (ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            path, f"is not a measurement of `slipway bench scaling` ({why})", do="measure again"
        ) from error
    most = max((len(found.of(scaling)) for scaling in SCALINGS), default=0)
    if most < 2 or not usable:
        raise UserError(
            path,
            f"holds {most} sizes, but scaling needs at least 2",
            do="measure more with `slipway bench scaling --ranks 1,2,4`",
        )
    return found


def _check(row: Row) -> None:
    """Raise ValueError if a number cannot be one of a measurement."""
    if row.scaling not in SCALINGS:
        raise ValueError(f"scaling {row.scaling}")
    for name in (
        "devices",
        "nodes",
        "step_s",
        "units_per_second",
        "speed_up",
        "ideal_speed_up",
        "efficiency",
    ):
        value = getattr(row, name)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"{name} {value}")
    if set(row.step_seconds) != set(KINDS):
        raise ValueError("step_seconds")


def shares(row: Row) -> dict[str, float]:
    """Return the parts of a step as shares of it."""
    return {kind: seconds / row.step_s for kind, seconds in row.step_seconds.items()}


def remark(done: Sequence[Done], threads: int | None) -> str | None:
    """Return what a reader has to know of the machines; None: nothing."""
    machines = {json.dumps([one.record["machine"], one.record["versions"]]) for one in done}
    found = [f"{len(machines)} kinds of machines or versions"] if len(machines) > 1 else []
    cores = min(one.record["machine"]["cores"] for one in done)
    most = max(one.repeat.point.size.devices_per_node for one in done)
    if threads is not None and threads * most > cores:
        found.append(f"{most} ranks x {threads} threads share {cores} cores")
    return "; ".join(found) or None
