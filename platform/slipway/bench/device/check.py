"""`slipway bench device --check`: compares planned with trained steps of small layouts.

The plans use the measured constants.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import correlation, median

from slipway.bench.options import configuration
from slipway.bench.record import named
from slipway.errors import Fault
from slipway.plan import make_plan

SMALL = [
    "model=demo",
    "model.num_layers=4",
    "model.hidden_size=256",
    "model.num_attention_heads=4",
    "training.global_batch_size=16",
    "training.micro_batch_size=2",
    "training.recompute=none",
]
LARGE = [*SMALL, "model.hidden_size=512", "model.num_attention_heads=8", "training.global_batch_size=8"]
TENSOR, PIPELINE, CONTEXT = (
    f"parallelism.{name}_parallel_size={{}}" for name in ("tensor_model", "pipeline_model", "context")
)
LAYOUTS = {
    "data": [*SMALL],
    "data, micro batch 4": [*SMALL, "training.micro_batch_size=4"],
    "data, half the batch": [*SMALL, "training.global_batch_size=8"],
    "data, distributed optimizer": [*SMALL, "parallelism.use_distributed_optimizer=true"],
    "data, all computed again": [*SMALL, "training.recompute=full"],
    "data, large": [*LARGE],
    "tensor": [*SMALL, TENSOR],
    "tensor and sequence": [*SMALL, TENSOR, "parallelism.sequence_parallel=true"],
    "tensor, all computed again": [*SMALL, TENSOR, "training.recompute=full"],
    "tensor, large": [*LARGE, TENSOR],
    "pipeline": [*SMALL, PIPELINE],
    "pipeline, two microbatches": [*SMALL, PIPELINE, "training.micro_batch_size=8"],
    "pipeline, interleaved": [*SMALL, PIPELINE, "parallelism.virtual_pipeline_model_parallel_size=2"],
    "pipeline, large": [*LARGE, PIPELINE],
    "context": [*SMALL, CONTEXT],
    "context, large": [*LARGE, CONTEXT],
}
"""Overrides that follow those of the caller; {} stands for the number of ranks."""


@dataclass(frozen=True)
class Row:
    """The planned and the measured step of one layout."""

    layout: str
    planned_ms: float = named("planned (ms)")
    measured_ms: float = named("measured (ms)")
    error: float = named("planned / measured - 1")


@dataclass(frozen=True)
class Summary:
    """The accuracy of the plans."""

    median_error: float = named("median error")
    rank_correlation: float | None = named("rank correlation")


def check(overrides: Sequence[str], ranks: int, constants: Path) -> tuple[list[Row], Summary]:
    """Plan and train each layout that so many ranks can have; return its rows and their summary.

    Raises Fault if a training fails.
    """
    rows = []
    for number, (name, words) in enumerate(LAYOUTS.items(), 1):
        asked = [*(word.format(ranks) for word in words), "parallelism=single", *overrides]
        print(f"[{number}/{len(LAYOUTS)}] {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            config = configuration([], [*asked, f"cluster.device.measured={constants}"], Path(folder))
            planned = make_plan(config).time.seconds_per_step
            assert planned is not None, "the constants are given"
            rows.append(_row(name, planned, _train(asked, Path(folder))))
    return rows, summarize(rows)


def summarize(rows: Sequence[Row]) -> Summary:
    """Return the median of the errors' sizes, and Spearman's correlation of the orders by time."""
    orders = (_order([row.planned_ms for row in rows]), _order([row.measured_ms for row in rows]))
    return Summary(median(abs(row.error) for row in rows), correlation(*orders) if len(rows) > 1 else None)


def _order(values: Sequence[float]) -> list[float]:
    return [float(sorted(values).index(value)) for value in values]


def _row(name: str, planned: float, measured: float) -> Row:
    return Row(name, planned * 1e3, measured * 1e3, planned / measured - 1)


def _train(overrides: Sequence[str], folder: Path) -> float:
    """Return the seconds of the trainer's median step, from a process of its own. Raises Fault if that fails."""
    command = ["bench", "train", "--json", "--steps", "7", "--out", str(folder), *overrides]
    found = subprocess.run(
        [sys.executable, "-m", "slipway", *command], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise Fault(
            f"slipway {shlex.join(command)}",
            f"exited with code {found.returncode}: {found.stderr[-500:]}",
            do="run that command by itself to see all of its output",
        )
    return json.loads(found.stdout)["summary"]["step_s"]
