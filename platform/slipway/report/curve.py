"""The picture of a run: loss over steps, and below it what explains it."""

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from slipway.files import whole
from slipway.plan import Plan
from slipway.plan.units import Units
from slipway.report.metrics import Metrics, numbers
from slipway.report.summary import layout, smooth
from slipway.words import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#66727f", "#e4e8ec"
LEFT, RIGHT = 0.08, 0.965
RAW, TRAIN, VALIDATION = "#a9c7e8", "#1f5fa8", "#d9541e"
STYLE: Any = {
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#b6bec7",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def draw(metrics: Metrics, units: Units, plan: Plan | None, name: str, path: Path) -> None:
    """Write the picture (PNG, 1600 x 1200) of metrics with at least one training line."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = _figure(metrics, units, plan, name)
        with whole(path) as beside:
            figure.savefig(beside, format="png", dpi=160)


def heading(plan: Plan) -> str:
    """Return in one line what was trained and how."""
    training, ranks, units = plan.config.training, plan.world_size, Units.of(plan)
    samples = f"{training.global_batch_size}" + ("" if units.is_sample else f" × {plan.units_per_sample:,}")
    parts = [
        f"{quantity(plan.parameters)} parameters",
        layout(plan) + (f" = {ranks} ranks" if ranks > 1 else ""),
        f"{samples} {units.name} per step",
        training.precision,
    ]
    return "   ·   ".join(parts)


def _figure(metrics: Metrics, units: Units, plan: Plan | None, name: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5))
    size = min(19.0, 19.0 * 60 / len(name))
    figure.text(LEFT, 0.954, name, fontsize=size, fontweight="bold", va="center", parse_math=False)
    if plan:
        figure.text(LEFT, 0.906, heading(plan), fontsize=11, color=MUTED, va="center")
    upper = figure.add_gridspec(1, 1, left=LEFT, right=RIGHT, top=0.82, bottom=0.355)
    lower = figure.add_gridspec(1, 3, left=LEFT, right=RIGHT, top=0.225, bottom=0.075, wspace=0.28)
    _loss(figure.add_subplot(upper[0, 0]), metrics, units, plan)
    _panel(figure.add_subplot(lower[0, 0]), "Learning rate", *metrics.column("learning_rate"))
    norm = figure.add_subplot(lower[0, 1])
    steps, norms = metrics.column("grad_norm")
    if norms and min(norms) > 0 and max(norms) > 30 * min(norms):
        norm.set_yscale("log")
    _panel(norm, "Gradient norm", steps, norms)
    steps, rates = metrics.column("units_per_second")
    title = f"{units.name.capitalize()} per second"
    title += f" (median {quantity(median(rates))})" if rates else ""
    _panel(figure.add_subplot(lower[0, 2]), title, steps, rates)
    return figure


def _loss(axes: "Axes", metrics: Metrics, units: Units, plan: Plan | None) -> None:
    steps, losses = metrics.column("loss")
    window = max(1, len(losses) // 40) | 1
    if window > 1:
        axes.plot(steps, losses, color=RAW, linewidth=1.0, label="training, every step")
    label = f"training, mean of {window} steps" if window > 1 else "training"
    axes.plot(steps, smooth(losses, window), _dots(steps), color=TRAIN, linewidth=2.2, label=label)
    _validation(axes, *numbers(metrics.validation, "loss"))
    axes.set_xlabel("step")
    axes.set_ylabel(units.loss, labelpad=8)
    axes.margins(x=0.03)
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.84))
    if plan:
        if plan.chance_loss is not None:
            _chance(axes, plan.chance_loss)
        _units_above(axes, plan.config.training.global_batch_size * plan.units_per_sample, units)


def _validation(axes: "Axes", steps: list[int], losses: list[float]) -> None:
    from matplotlib.patheffects import withStroke

    if not steps:
        return
    axes.plot(steps, losses, color=VALIDATION, linewidth=1.0, alpha=0.45, zorder=1.9)
    axes.scatter(steps, losses, s=52, color=VALIDATION, edgecolor="white", zorder=4, label="validation")
    ends = {steps[0]: ("left", (9, 7)), steps[-1]: ("center", (0, 9))}  # the curve falls from the first
    for step, (side, offset) in ends.items():
        loss = losses[steps.index(step)]
        axes.annotate(
            _short(loss),
            (step, loss),
            xytext=offset,
            textcoords="offset points",
            ha=side,
            color=VALIDATION,
            fontweight="bold",
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=5,
        )


def _chance(axes: "Axes", loss: float) -> None:
    axes.axhline(loss, color=MUTED, linewidth=1.0, linestyle=(0, (5, 4)), zorder=1)
    axes.annotate(
        f"{_short(loss)}: a model that has learnt nothing",
        (1.0, loss),
        xycoords=("axes fraction", "data"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color=MUTED,
        fontsize=10,
    )


def _units_above(axes: "Axes", per_step: int, units: Units) -> None:
    """Add a second scale of the steps, in the run's unit."""
    import numpy

    top = axes.secondary_xaxis(
        "top",
        functions=(lambda x: numpy.multiply(x, per_step), lambda x: numpy.divide(x, per_step)),
    )
    top.xaxis.set_major_formatter(lambda value, _: quantity(value) if value > 0 else f"0 {units.name}")
    top.tick_params(labelsize=9.5)
    top.spines["top"].set_visible(False)


def _panel(axes: "Axes", title: str, steps: list[int], values: list[float]) -> None:
    axes.set_title(title, fontsize=10.5, pad=8)
    axes.set_xlabel("step", fontsize=9.5)
    axes.tick_params(labelsize=9.5)
    axes.margins(x=0.03)
    axes.locator_params(axis="x", integer=True, nbins=5)
    if not values:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        return
    axes.plot(steps, values, _dots(steps), color=TRAIN, linewidth=1.3)
    if axes.get_yscale() == "linear":
        axes.set_ylim(0, max(values) * 1.12 or 1.0)
        axes.yaxis.set_major_formatter(lambda value, _: _tick(value))
        axes.locator_params(axis="y", nbins=4)


def _short(loss: float) -> str:
    return f"{loss:.2f}" if abs(loss) >= 1 else f"{loss:.3g}"


def _dots(steps: list[int]) -> str:
    return "o" if len(steps) == 1 else "-"


def _tick(value: float) -> str:
    """Return a tick's value in short form: 0.003 as `3e-3`, 7500 as `7.5k`."""
    if 0 < value < 1e-2:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return quantity(value)
