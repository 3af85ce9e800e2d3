"""The benchmarks' pictures: bars of a step's time, bars of operators. Imports matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from slipway.bench.kernel_counts import shape_of
from slipway.bench.record import describe_machine, describe_versions
from slipway.config.schema import RunConfig
from slipway.files import whole
from slipway.metrics.step_time import KINDS
from slipway.plan import Plan
from slipway.plan.units import Units
from slipway.report.curve import INK, MUTED, STYLE, heading
from slipway.words import figure as figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from slipway.bench.kernels import Row as KernelRow
    from slipway.bench.kernels import Summary as KernelSummary
    from slipway.bench.train import Row as StepRow
    from slipway.bench.train import Summary as StepSummary

COLORS = {
    "matmul": "#1f5fa8",
    "attention": "#5a9bd8",
    "other kernels": "#a9c7e8",
    "communication": "#d9541e",
    "waiting": "#e4e8ec",
    "optimizer": "#3f8f6b",
}
BACKENDS = {"te": "#3f8f6b", "apex": "#8a6bbf", "onednn": "#c08a2e", "torch": "#1f5fa8", "unfused": "#a9c7e8"}
DARK = ("matmul", "communication", "optimizer")
BARS: Any = {**STYLE, "axes.spines.left": False, "axes.grid.axis": "x"}


def draw_shares(axes: "Axes", shares: Sequence[Mapping[str, float]], fontsize: int) -> None:
    """Draw a bar per row with a step's shares by KINDS, and the legend above."""
    from matplotlib.patches import Patch

    for y, row in enumerate(shares):
        left = 0.0
        for kind in KINDS:
            share = 100 * row[kind]
            axes.barh(y, share, left=left, height=0.66, color=COLORS[kind], edgecolor="white", linewidth=0.8)
            if share >= 4:
                ink = "white" if kind in DARK else INK
                middle = left + share / 2
                axes.text(middle, y, f"{share:.0f}%", ha="center", va="center", color=ink, fontsize=fontsize)
            left += share
    axes.set_xlim(0, 100)
    axes.legend(
        [Patch(color=COLORS[kind]) for kind in KINDS],
        list(KINDS),
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(KINDS),
        columnspacing=1.3,
        handlelength=1.0,
        fontsize=fontsize,
    )


def draw_step(
    plan: Plan, rows: Sequence["StepRow"], summary: "StepSummary", record: Mapping[str, Any], path: Path
) -> None:
    """Write the picture (PNG) of where the step's time goes: a bar per row.

    record: of machine and versions.
    """
    with matplotlib.rc_context(BARS):
        figure, axes = _figure(len(rows), "Where a step's time goes", [
            heading(plan),
            f"step {summary.step_s:.3g} s   ·   {figure_of(summary.units_per_second)} {Units.of(plan).name}/s   ·   "
            f"{summary.share:.0%} of the measured matmul ceiling",
        ], record, legend=True)  # fmt: skip
        draw_shares(axes, [row.shares for row in rows], fontsize=10)
        axes.set_yticks(range(len(rows)), [_rank_name(row) for row in rows])
        axes.set_xlabel("share of the step under the profiler (%)")
        _save(figure, path)


def draw_kernels(
    config: RunConfig,
    rows: Sequence["KernelRow"],
    summary: "KernelSummary",
    record: Mapping[str, Any],
    path: Path,
) -> None:
    """Write the picture (PNG) of every operator's share of the ceiling: a bar per backend."""
    shape = shape_of(config)
    lines = [
        f"micro batch {shape.batch} × {shape.sequence:,} tokens   ·   hidden {shape.hidden:,}   ·   "
        f"{shape.heads} heads of {shape.head}   ·   vocabulary {shape.vocabulary:,}   ·   {config.training.precision}",
        f"ceilings: {summary.matmul_tflops:.3g} TFLOP/s, {summary.memory_gigabytes_per_second:.3g} GB/s",
    ]
    places, names, y = [], [], -1.0
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].operator != row.operator
        y += 1.45 if first else 1.0
        places.append(y)
        names.append(f"{row.operator}   {row.backend}" if first else row.backend)
    with matplotlib.rc_context(BARS):
        figure, axes = _figure(round(y), "Kernels, one by one", lines, record)
        for y, row in zip(places, rows, strict=True):
            share, text = 100 * row.share, f"{100 * row.share:.0f}% of {row.ceiling}"
            beyond = share > 100  # the bar is cut off; the number shows how far it goes
            axes.barh(y, min(share, 104), height=0.78, color=BACKENDS[row.backend])
            axes.annotate(
                text,
                (min(share, 104), y),
                xytext=(-6 if beyond else 6, 0),
                textcoords="offset points",
                ha="right" if beyond else "left",
                va="center",
                color="white" if beyond else MUTED,
                fontsize=9.5,
            )
            axes.text(137, y, f"{row.median_ms:.3g} ms", ha="right", va="center", fontsize=10)
        axes.set_yticks(places, names)
        axes.set_ylim(places[-1] + 0.7, places[0] - 0.7)
        axes.set_xlim(0, 138)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("share of the measured ceiling (%); median time of a call", loc="left")
        _save(figure, path)


def _rank_name(row: "StepRow") -> str:
    if not row.rank.isdigit():  # the mean of several ranks
        return row.rank
    return f"rank {row.rank}" + ("" if row.stage is None else f", stage {row.stage}")


def _figure(
    bars: int, title: str, lines: Sequence[str], record: Mapping[str, Any], *, legend: bool = False
) -> tuple["Figure", "Axes"]:
    """Return a page and its axes: a title, lines below it, room for so many bars, and the machine at its foot."""
    from matplotlib.figure import Figure

    above, below, each = (
        0.75 + 0.27 * len(lines) + (0.35 if legend else 0.05),
        0.95,
        0.42 if legend else 0.3,
    )  # inches
    height = above + below + each * max(bars, 2)
    figure = Figure(figsize=(10, height))
    figure.text(0.03, 1 - 0.38 / height, title, fontsize=17, fontweight="bold", va="center")
    for i, line in enumerate(lines):
        figure.text(0.03, 1 - (0.75 + 0.27 * i) / height, line, color=MUTED, va="center", parse_math=False)
    foot = f"{describe_machine(record)}   ·   {record['date'][:10]}\n{describe_versions(record)}"
    figure.text(0.03, 0.2 / height, foot, color=MUTED, fontsize=8, va="center", parse_math=False)
    axes = figure.add_axes((0.03, below / height, 0.94, 1 - (above + below) / height))
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelcolor=INK)
    return figure, axes


def _fit(figure: "Figure", axes: "Axes") -> None:
    """Move the left side so that the bars' names fit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    widths = [label.get_window_extent().width for label in axes.get_yticklabels()]
    left = 0.03 + (max(widths, default=0) + 12) / figure.bbox.width
    box = axes.get_position()
    axes.set_position((left, box.y0, 0.97 - left, box.height))


def _save(figure: "Figure", path: Path) -> None:
    for axes in figure.axes:
        _fit(figure, axes)
    with whole(path) as beside:
        figure.savefig(beside, format="png", dpi=160)
