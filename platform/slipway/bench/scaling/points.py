"""The folders of a measurement: one for each repeat of each point, which is done once its record exists."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import files
from slipway.bench.scaling.sizes import Point
from slipway.errors import UserError
from slipway.launch.placement import scheduler_of
from slipway.launch.record import folder_of
from slipway.plan import Plan, plan_file
from slipway.run_dir import RunDir

RECORD = "bench-train.json"
_NOT_MEASURED = ("run", "launch", "logging", "cluster")
"""Sections that may differ between measurements that count as the same; of the cluster the name may not."""


@dataclass(frozen=True)
class Repeat:
    """A measurement, made or to be made: the plan of a point under a name and in a folder of its own."""

    point: Point
    number: int
    plan: Plan
    folder: Path
    """The path of its record's folder as seen from here."""


@dataclass(frozen=True)
class Done:
    """A repeat that was measured, and its record as `slipway bench train` wrote it."""

    repeat: Repeat
    record: dict[str, Any]


def repeats(points: Sequence[Point], count: int, out: Path) -> list[Repeat]:
    """Return the repeats to measure: all points once, then all again, so that a noisy machine disturbs all alike.

    out: the folder of the whole, as plans name it: where jobs run, relative to launch.workdir.
    """
    return [_repeat(point, number, out) for number in range(1, count + 1) for point in points]


def _repeat(point: Point, number: int, out: Path) -> Repeat:
    config = point.plan.config
    of_point = f"{point.size.nodes}x{point.size.devices_per_node}-batch{config.training.global_batch_size}"
    name = f"{config.run.name}-scaling-{of_point},repeat={number}"
    run = config.run.model_copy(update={"name": name, "dir": out / of_point / f"repeat{number}"})
    own = config.model_copy(update={"run": run})
    plan = point.plan.model_copy(update={"config": own})
    return Repeat(point, number, plan, folder_of(own, scheduler_of(own.cluster)))


def read(repeat: Repeat, steps: int) -> Done | None:
    """Return what was measured; None: nothing yet.

    Raises UserError if the folder holds a measurement of something else, or a file that is none.
    """
    path = repeat.folder / RECORD
    content = files.read(path)
    if content is None:
        return None
    try:
        record = json.loads(content)
        seconds, measured = record["summary"]["step_s"], record["summary"]["steps"]
        shares = [row["shares"] for row in record["rows"]]
        right = seconds > 0 and bool(shares)
    except (ValueError, KeyError, TypeError):
        right, measured = False, steps
    if not right:
        raise UserError(path, "is not a measurement of `slipway bench train`", do="remove it")
    if measured != steps:
        raise UserError(
            "bench scaling --steps",
            f"differs from the {measured} of {path}",
            value=steps,
            use=f"{measured}, or another folder: --out DIR",
        )
    _check_same(repeat)
    return Done(repeat, record)


def _check_same(repeat: Repeat) -> None:
    path = RunDir(repeat.folder).plan
    found = plan_file.read_config(path).model_dump(mode="json")
    asked = repeat.plan.config.model_dump(mode="json")
    cluster = found["cluster"]["name"], asked["cluster"]["name"]
    for config in (found, asked):
        for section in _NOT_MEASURED:
            del config[section]
    differing = [f"cluster={cluster[0]}"] * (cluster[0] != cluster[1])
    differing += [f"{key}={value}" for key, value in plan_file.differences(asked, found)]
    if differing:
        raise UserError(
            "bench scaling --out",
            f"holds a measurement of another configuration: {', '.join(differing[:5])}",
            value=repeat.folder,
            use="another folder: --out DIR",
        )
