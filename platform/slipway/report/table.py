"""A run's numbers as a table for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.plan import Plan
from slipway.plan.units import Units
from slipway.report.summary import Ends, Summary, layout
from slipway.words import duration, figure, quantity, size

if TYPE_CHECKING:
    from rich.table import Table


def table(summary: Summary, units: Units, plan: Plan | None, folder: Path) -> "Table":
    """Return the summary as a table for people."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    name = plan.config.run.name if plan else str(folder)
    result = Table(title=f"Run {escape(name)}", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    result.show_header = False
    result.add_column(style="dim")
    result.add_column()
    for label, text in rows(summary, units, plan):
        result.add_row(label, text)
    return result


def rows(summary: Summary, units: Units, plan: Plan | None) -> list[tuple[str, str]]:
    """Return (name, value with its unit) of all that the run recorded."""
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
        *([] if units.is_sample else [("samples", _amount(s.samples, plan and plan.samples))]),
        (units.name, _amount(s.units, plan and plan.units)),
        *_losses("training", units, s.loss, s.measures),
        *_losses("validation", units, s.validation_loss, s.validation_measures),
        (
            "best validation",
            s.best_validation and f"{_number(s.best_validation[1])} at step {s.best_validation[0]:,}",
        ),
        *([] if units.is_sample else [("samples per second", _rate(s.samples_per_second))]),
        (f"{units.name} per second", _rate(s.units_per_second)),
        ("step", s.step_seconds and f"{duration(s.step_seconds)} (median)"),
        ("per device", s.tflops_per_device and f"{quantity(s.tflops_per_device * 1e12, 'FLOP/s')} (median)"),
        ("MFU", s.mfu and f"{s.mfu:.1%}{_of_peak(s)} (median)"),
        ("MFU as PaLM counts", s.mfu_palm and f"{s.mfu_palm:.1%} (median)"),
        ("power", s.power_watts and f"{s.power_watts:,.0f} W, rank 0 (median)"),
        ("clock", s.clock_mhz and f"{s.clock_mhz:,.0f} MHz, rank 0 (median)"),
        ("memory", s.memory_gib and f"{size(s.memory_gib * 2**30)} per device (largest)"),
        ("data wait", None if s.data_wait is None else f"{s.data_wait:.1%} of the steps' time"),
        ("time in steps", duration(s.seconds_in_steps)),
        ("first to last line", s.wall_seconds and duration(s.wall_seconds)),
    ]
    return [(name, text) for name, text in found if text]


def _amount(done: float | None, of: int | None) -> str | None:
    return f"{done:,.0f}" + (f" of {of:,}" if of else "") if done else None


def _of_peak(s: Summary) -> str:
    if not s.peak_tflops:
        return ""
    return f" of {'a measured ' * (s.peak == 'measured')}{quantity(s.peak_tflops * 1e12, 'FLOP/s')}"


def _losses(
    kind: str, units: Units, loss: Ends, measures: Mapping[str, Ends]
) -> list[tuple[str, str | None]]:
    unit = f"  {units.loss_unit}" if units.loss_unit else ""
    text = _from_to(loss)
    of_measures = [(f"{kind} {name}", _from_to(ends)) for name, ends in measures.items()]
    return [(f"{kind} loss", text and text + unit), *of_measures]


def _rate(value: float | None) -> str | None:
    return f"{figure(value)} (median)" if value else None


def _from_to(ends: Ends) -> str | None:
    first, last = ends
    if first is None or last is None:
        return None if first is None else _number(first)
    change = last - first
    return f"{_number(first)} → {_number(last)}  ({'+' if change >= 0 else ''}{_number(change)})"


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"
