"""Reads all that a run left on disk, for its report."""

from dataclasses import dataclass
from pathlib import Path

from slipway.errors import UserError
from slipway.plan import Plan, plan_file
from slipway.plan.units import Units
from slipway.report import metrics as metrics_file
from slipway.report.metrics import Metrics
from slipway.report.summary import Summary, summarize
from slipway.run_dir import RunDir
from slipway.runs.overview import Overview, look


@dataclass(frozen=True)
class Recorded:
    """A run as its files describe it."""

    folder: Path
    name: str
    metrics: Metrics
    units: Units
    plan: Plan | None
    """None: it cannot be read; `notes` has the reason."""
    overview: Overview
    """Its segments among others."""
    summary: Summary
    notes: list[str]
    """A line on each thing that is missing or cannot be read."""


def read(folder: Path, now: float) -> Recorded:
    """Return the run in a folder, as of `now` (Unix seconds).

    Raises UserError if it holds no run or no finished step, Unreadable if metrics.jsonl cannot be read.
    """
    run = RunDir(folder)
    metrics = metrics_file.read(_metrics_of(run))
    if not metrics.train:
        raise UserError(
            "run.dir",
            "contains no training step yet",
            value=run.metrics,
            do="train at least one step first",
        )
    plan, notes = _plan_of(run)
    if metrics.foreign:
        lines = f"{len(metrics.foreign)} lines are no records, the first is line {metrics.foreign[0]}"
        notes.append(f"{run.metrics}: {lines}; left out")
    units = Units.of(plan) if plan else metrics.units
    name = plan.config.run.name if plan else folder.resolve().name
    overview = look(folder, now)
    notes += overview.problems
    return Recorded(folder, name, metrics, units, plan, overview, summarize(metrics, units), notes)


def _metrics_of(run: RunDir) -> Path:
    if run.metrics.is_file():
        return run.metrics
    name, beside = run.metrics.name, run.path.parent
    what = f"has no {name}" if run.path.is_dir() else "does not exist"
    runs = sorted(str(found.parent) for found in beside.glob(f"*/{name}"))
    shown = ", ".join(runs[:10]) + (f" and {len(runs) - 10} more" if len(runs) > 10 else "")
    raise UserError(
        "run.dir",
        what if runs else f"{what}, and {beside} contains no run",
        value=run.path,
        use=f"one of the runs beside it: {shown}" if runs else "",
    )


def _plan_of(run: RunDir) -> tuple[Plan | None, list[str]]:
    """Return the run's plan, or None if it cannot be read, and the notes that report why."""
    if run.plan.exists() and not run.plan.is_file():
        return None, [f"{run.plan} is not a file: shown without model and layout"]
    if not run.plan.exists():
        return None, [f"no {run.plan.name} in {run.path}: shown without model and layout"]
    try:
        return plan_file.read(run.plan), []
    except UserError as error:  # the metrics of an older version's run are as good
        return None, [f"{error}; shown without model and layout"]
