"""A scaling measurement with published times: 44.82 to 1.56 minutes on 1 to 64 devices, as a step's seconds."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from slipway.bench import record
from slipway.bench.scaling import table
from slipway.bench.scaling.points import Done, repeats
from slipway.bench.scaling.sizes import STRONG, Asked, Point, points
from slipway.metrics.step_time import KINDS

MINUTES = {1: 44.82, 2: 24.07, 4: 14.18, 8: 7.76, 16: 4.42, 32: 2.72, 64: 1.56}
WHERE = {
    "machine": {"processor": "a processor", "cores": 48, "memory_gib": 470.0, "gpu": "a GPU"},
    "versions": {"slipway": "0.1.0", "torch": "2.15.0"},
}
WORDS = ["cluster=juwels_booster", "model=gpt3_125m", "training.micro_batch_size=1"]


def measured(times: Mapping[int, tuple[float, ...]], scalings: tuple[str, ...] = (STRONG,)) -> list[Done]:
    """What such a measurement has found: seconds of each repeat by number of devices."""
    found = _points(tuple(times), scalings)
    return [
        Done(one, _record(times[one.plan.world_size][one.number - 1]))
        for one in repeats(found, len(next(iter(times.values()))), Path("out"))
    ]


@cache
def _points(ranks: tuple[int, ...], scalings: tuple[str, ...]) -> list[Point]:
    return points(Asked(WORDS, ranks=ranks, scalings=scalings))


def _record(seconds: float) -> dict[str, Any]:
    shares = dict.fromkeys(KINDS, 0.0) | {"matmul": 0.75, "communication": 0.25}
    summary = {
        "step_s": seconds,
        "tflops_per_device": 100 / seconds,
        "mfu": 0.3 / seconds,
        "memory_gib": 20.0,
    }
    return {"rows": [{"shares": shares}], "summary": summary, **WHERE}


def written(folder: Path, **changes: Any) -> Path:
    """A bench-scaling.json with the published times; changes: of its summary."""
    rows = table.rows_of(measured({devices: (minutes,) for devices, minutes in MINUTES.items()}))
    plan = _points(tuple(MINUTES), (STRONG,))[0].plan
    summary = {
        "model": plan.config.model.name,
        "parameters": plan.parameters,
        "precision": plan.config.training.precision,
        "cluster": "juwels_booster",
        "device": "A100",
        "threads": None,
        "steps": 5,
        "missing": 0,
        "peak": "of the profile",
        "remark": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    record.write(
        "scaling",
        ["--ranks", "1,2,4"],
        rows,
        table.Summary(**{**summary, **changes}),
        units="tokens",
        folder=folder,
        measured=WHERE,
    )
    return folder / "bench-scaling.json"
