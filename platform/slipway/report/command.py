"""`slipway report run.dir=DIR`: the run's numbers as a table, its loss as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.plan import Plan, plan_file
from slipway.report import metrics as metrics_file
from slipway.report.summary import Summary, layout, summarize
from slipway.words import duration, quantity, size

if TYPE_CHECKING:
    from rich.table import Table

METRICS, PLAN, PICTURE = "metrics.jsonl", "plan.json", "loss.png"


def run(config: RunConfig, options: Any = None) -> int:
    """Report on the run in run.dir; of the configuration nothing else is read."""
    return report(config.run.dir)


def report(folder: Path) -> int:
    """Print the table and write loss.png into the run's folder. Returns the exit code."""
    metrics = metrics_file.read(_metrics_of(folder))
    if not metrics.train:
        raise UserError("run.dir", "contains no training step yet: none was finished", value=folder / METRICS)
    plan, notes = _plan_of(folder)
    if metrics.foreign:
        lines = f"{len(metrics.foreign)} lines are no records, the first is line {metrics.foreign[0]}"
        notes.append(f"{folder / METRICS}: {lines}; left out")

    from slipway.report.curve import draw

    picture = folder / PICTURE
    try:
        draw(metrics, plan, plan.config.run.name if plan else folder.resolve().name, picture)
    except OSError as error:
        raise UserError("run.dir", f"cannot be written: {error.strerror}", value=picture) from error

    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(table(summarize(metrics, plan), plan, folder))
    for note in notes:
        console.print(note, markup=False)
    console.print(f"loss curve  {picture}\nmetrics     {folder / METRICS}", markup=False)
    return EXIT_DONE


def table(summary: Summary, plan: Plan | None, folder: Path) -> "Table":
    """The summary for people."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    name = plan.config.run.name if plan else str(folder)
    result = Table(title=f"Run {escape(name)}", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    result.show_header = False
    result.add_column(style="dim")
    result.add_column()
    for label, text in rows(summary, plan):
        result.add_row(label, text)
    return result


def rows(summary: Summary, plan: Plan | None) -> list[tuple[str, str]]:
    """(name, value with its unit) of all that the run recorded."""
    s = summary
    found: list[tuple[str, str | None]] = []
    if plan:
        training = plan.config.training
        found += [
            ("model", f"{plan.config.model.name}, {plan.parameters:,} parameters, {training.precision}"),
            ("layout", f"{layout(plan)}, world size {plan.world_size}"),
        ]
    found += [
        ("steps", f"{s.step:,}" + (f" of {plan.config.training.steps:,}" if plan else "")),
        ("tokens", s.tokens and f"{s.tokens:,.0f}"),
        ("training loss", _from_to(s.first_loss, s.last_loss)),
        ("validation loss", _from_to(s.first_validation, s.last_validation)),
        (
            "best validation",
            s.best_validation and f"{s.best_validation[1]:.4f} at step {s.best_validation[0]:,}",
        ),
        ("tokens per second", s.units_per_second and f"{s.units_per_second:,.0f} (median)"),
        ("step", s.step_seconds and f"{duration(s.step_seconds)} (median)"),
        ("per device", s.tflops_per_device and f"{quantity(s.tflops_per_device * 1e12, 'FLOP/s')} (median)"),
        ("MFU", s.mfu and f"{s.mfu:.1%} (median)"),
        ("memory", s.memory_gib and f"{size(s.memory_gib * 2**30)} per device (largest)"),
        ("data wait", None if s.data_wait is None else f"{s.data_wait:.1%} of the steps' time"),
        ("time in steps", duration(s.seconds_in_steps)),
        ("first to last line", s.wall_seconds and duration(s.wall_seconds)),
    ]
    return [(name, text) for name, text in found if text]


def _from_to(first: float | None, last: float | None) -> str | None:
    if first is None or last is None:
        return None if first is None else f"{first:.4f}"
    return f"{first:.4f} → {last:.4f}  ({last - first:+.4f})"


def _metrics_of(folder: Path) -> Path:
    path = folder / METRICS
    if path.is_file():
        return path
    what = f"has no {METRICS}" if folder.is_dir() else "does not exist"
    beside = folder.parent
    runs = sorted(str(found.parent) for found in beside.glob(f"*/{METRICS}"))
    shown = ", ".join(runs[:10]) + (f" and {len(runs) - 10} more" if len(runs) > 10 else "")
    raise UserError(
        "run.dir",
        what if runs else f"{what}, and {beside} contains no run",
        value=folder,
        use=f"one of the runs beside it: {shown}" if runs else "",
    )


def _plan_of(folder: Path) -> tuple[Plan | None, list[str]]:
    """The run's plan where it can be read, and what to say where it cannot."""
    if (folder / PLAN).exists() and not (folder / PLAN).is_file():
        return None, [f"{folder / PLAN} is not a file: shown without model and layout"]
    if not (folder / PLAN).exists():
        return None, [f"no {PLAN} in {folder}: shown without model and layout"]
    try:
        return plan_file.read(folder / PLAN), []
    except UserError as error:  # the metrics of an older version's run are as good
        return None, [f"{error}; shown without model and layout"]
