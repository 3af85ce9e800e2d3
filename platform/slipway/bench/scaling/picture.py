"""The plots of a scaling measurement: speed-up, efficiency, where a step's time goes. Imports matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from slipway.bench.pictures import COLORS, DARK
from slipway.bench.record import describe_machine, describe_versions
from slipway.bench.scaling.sizes import SCALINGS, STRONG, WEAK
from slipway.bench.scaling.table import Row, Summary, shares
from slipway.files import whole
from slipway.metrics.step_time import KINDS
from slipway.report.curve import INK, MUTED, STYLE
from slipway.words import figure as figure_of
from slipway.words import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = {STRONG: ("#1f5fa8", "o"), WEAK: ("#d9541e", "s")}
LEFT, RIGHT = 0.075, 0.975
_OFFSET = {STRONG: 0.985, WEAK: 1.015}  # so that the intervals of both are visible beside each other


def draw(rows: Sequence[Row], summary: Summary, record: Mapping[str, Any], path: Path) -> None:
    """Write the picture (PNG, 1760 x 1440).

    record: of machine, versions and date.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure(rows, summary, record)
        with whole(path) as beside:
            figure.savefig(beside, format="png", dpi=160)


def _figure(rows: Sequence[Row], summary: Summary, record: Mapping[str, Any]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(11, 9))
    title = f"Scaling of {summary.model} on {summary.cluster}"
    figure.text(
        LEFT, 0.962, title, fontsize=min(18.0, 18.0 * 60 / len(title)), fontweight="bold", va="center"
    )
    facts = [
        f"{quantity(summary.parameters)} parameters",
        summary.precision,
        f"{rows[-1].repeats} repeats of {summary.steps} steps",
        "bars: 95% confidence",
    ]
    figure.text(LEFT, 0.925, "   ·   ".join(facts), color=MUTED, va="center", parse_math=False)
    foot = f"{describe_machine(record)}   ·   {record['date'][:10]}\n{describe_versions(record)}"
    foot += f"\n{summary.remark}" if summary.remark else ""
    figure.text(LEFT, 0.032, foot, color=MUTED, fontsize=8, va="center", parse_math=False)

    upper = figure.add_gridspec(1, 2, left=LEFT, right=RIGHT, top=0.86, bottom=0.555, wspace=0.2)
    _speed_up(figure.add_subplot(upper[0, 0]), rows)
    _efficiency(figure.add_subplot(upper[0, 1]), rows)
    there = [scaling for scaling in SCALINGS if any(row.scaling == scaling for row in rows)]
    lower = figure.add_gridspec(1, len(there), left=LEFT, right=RIGHT, top=0.37, bottom=0.125, wspace=0.2)
    for at, scaling in enumerate(there):
        _parts(figure.add_subplot(lower[0, at]), [row for row in rows if row.scaling == scaling])
    figure.legend(
        [Patch(color=COLORS[kind]) for kind in KINDS],
        list(KINDS),
        loc="center left",
        bbox_to_anchor=(LEFT - 0.012, 0.448),
        ncols=len(KINDS),
        columnspacing=1.3,
        handlelength=1.0,
        fontsize=10,
    )
    return figure


def _speed_up(axes: "Axes", rows: Sequence[Row]) -> None:
    axes.set_title("Speed-up", pad=10)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    devices = _devices(axes, rows)
    best = {row.devices: row.ideal_speed_up for row in rows}
    axes.plot(devices, [best[n] for n in devices], color=MUTED, linestyle=(0, (5, 4)), label="ideal")
    for scaling, of_one in _by_scaling(rows):
        _line(axes, scaling, of_one, [(row.speed_up, row.speed_up_low, row.speed_up_high) for row in of_one])
    lowest = min([row.speed_up for row in rows] + [1.0])
    highest = max(row.speed_up for row in rows)
    axes.set_ylim(lowest / 1.35, 1.35 * max(highest, *best.values()))  # whatever the intervals are
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_ylabel("speed-up (ratio of samples/s)", labelpad=8)
    axes.legend(loc="upper left")


def _efficiency(axes: "Axes", rows: Sequence[Row]) -> None:
    axes.set_title("Parallel efficiency", pad=10)
    axes.set_xscale("log", base=2)
    _devices(axes, rows)
    axes.axhline(100, color=MUTED, linestyle=(0, (5, 4)), linewidth=1.5)
    for scaling, of_one in _by_scaling(rows):
        ends = [(row.efficiency, row.efficiency_low, row.efficiency_high) for row in of_one]
        _line(axes, scaling, of_one, [tuple(None if e is None else 100 * e for e in one) for one in ends])
    most = max(row.efficiency for row in rows)
    axes.set_ylim(0, max(112.0, 115 * most))
    axes.set_ylabel("efficiency (%)", labelpad=8)


def _line(axes: "Axes", scaling: str, rows: Sequence[Row], ends: Sequence[tuple[Any, ...]]) -> None:
    color, marker = LINES[scaling]
    at = [row.devices * _OFFSET[scaling] for row in rows]
    values = [value for value, _, _ in ends]
    axes.plot(at, values, color=color, marker=marker, markersize=6, linewidth=2, label=scaling)
    known = [(x, v, low, high) for x, (v, low, high) in zip(at, ends, strict=True) if low is not None]
    if known:
        reach = [[v - low for _, v, low, _ in known], [high - v for _, v, _, high in known]]
        axes.errorbar(
            [x for x, *_ in known],
            [v for _, v, *_ in known],
            yerr=reach,
            fmt="none",
            ecolor=color,
            capsize=4,
            elinewidth=1.2,
        )


def _parts(axes: "Axes", rows: Sequence[Row]) -> None:
    title = f"{rows[0].scaling.capitalize()} scaling: parts of a step; above, its seconds"
    axes.set_title(title, pad=24)
    axes.grid(axis="x", visible=False)
    size = 10.0 if len(rows) <= 5 else 8.0
    for at, row in enumerate(rows):
        bottom = 0.0
        for kind, share in shares(row).items():
            share *= 100
            axes.bar(
                at, share, bottom=bottom, width=0.68, color=COLORS[kind], edgecolor="white", linewidth=0.8
            )
            if share >= 9:
                ink = "white" if kind in DARK else INK
                axes.text(
                    at, bottom + share / 2, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=size
                )
            bottom += share
        axes.text(at, 102, figure_of(row.step_s), ha="center", va="bottom", color=MUTED, fontsize=size)
    axes.set_xticks(range(len(rows)), [f"{row.devices:,}" for row in rows])
    axes.set_xlim(-0.6, max(len(rows), 3) - 0.4)
    axes.set_ylim(0, 100)
    axes.set_xlabel("devices")
    axes.set_ylabel("share of the step (%)", labelpad=8)


def _devices(axes: "Axes", rows: Sequence[Row]) -> list[int]:
    """Set the ticks of the horizontal axis, and return the sizes."""
    devices = sorted({row.devices for row in rows})
    axes.set_xticks(devices, [f"{n:,}" for n in devices])
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.minorticks_off()
    axes.set_xlim(devices[0] / 1.25, devices[-1] * 1.25)
    axes.set_xlabel("devices")
    return devices


def _by_scaling(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    found = [(scaling, [row for row in rows if row.scaling == scaling]) for scaling in SCALINGS]
    return [(scaling, of_one) for scaling, of_one in found if of_one]
