"""Draws one picture of all parts: their verdicts, shares of the ceiling, and where a step's time goes.

Imports matplotlib.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from slipway.bench.gpu.dense import CEILING, OURS
from slipway.bench.gpu.tables import where
from slipway.bench.pictures import BARS, draw_shares
from slipway.files import whole
from slipway.report.curve import INK, MUTED
from slipway.words import figure as figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICTS = {"passed": "#3f8f6b", "failed": "#c8331e", "timed out": "#c8331e"}
OTHER = "#9aa5b1"  # skipped, not begun
SLIPWAY, PLAIN = "#1f5fa8", "#a9c7e8"
LINE, GAP, HEAD, FOOT = 0.3, 0.95, 1.15, 0.75  # inches: a bar, between panels, above and below them


def draw(record: Mapping[str, Any], path: Path) -> None:
    """Write the picture (PNG).

    record: that of slipway.bench.gpu.tables.record_of.
    """
    rates = [(part["part"], part["rows"]) for part in record["parts"] if _is_rate(part)]
    times = [
        (part["part"] if name == OURS else f"{part['part']}, {name}", shares)
        for part in record["parts"]
        for name, shares in part["shares"].items()
    ]
    with matplotlib.rc_context(BARS):
        figure = _figure(record, rates, times)
        with whole(path) as beside:
            figure.savefig(beside, format="png", dpi=160)


def _is_rate(part: Mapping[str, Any]) -> bool:
    return any("share of the matmul ceiling" in row and "trainer" in row for row in part["rows"])


def _figure(record: Mapping[str, Any], rates: Sequence[tuple], times: Sequence[tuple]) -> "Figure":
    from matplotlib.figure import Figure

    right = [LINE * (sum(len(rows) for _, rows in rates) + len(rates))] if rates else []
    right += [LINE * 1.2 * len(times)] if times else []
    inside = max(LINE * len(record["parts"]), sum(right) + GAP * max(0, len(right) - 1))
    height = HEAD + inside + FOOT
    figure = Figure(figsize=(13, height))
    title = (
        "Rehearsal on a CPU: no figure means anything" if record["rehearsal"] else "What works, and how fast"
    )
    figure.text(0.025, 1 - 0.36 / height, title, fontsize=17, fontweight="bold", va="center")
    figure.text(0.025, 1 - 0.7 / height, record["command"], color=MUTED, va="center", parse_math=False)
    foot = f"{where(record)}   ·   {record['date'][:10]}"
    figure.text(0.025, 0.22 / height, foot, color=MUTED, fontsize=8, va="center", parse_math=False)

    def panel(left: float, width: float, top: float, tall: float) -> "Axes":
        return figure.add_axes((left, 1 - (top + tall) / height, width, tall / height))

    _verdicts(panel(0.025, 0.27, HEAD, LINE * len(record["parts"])), record["parts"])
    top = HEAD
    for tall, drawing, what in zip(right, [d for d, w in ((_rates, rates), (_times, times)) if w], [
        w for w in (rates, times) if w
    ], strict=True):  # fmt: skip
        drawing(panel(0.49, 0.485, top, tall), what)
        top += tall + GAP
    return figure


def _verdicts(axes: "Axes", parts: Sequence[Mapping[str, Any]]) -> None:
    axes.set_axis_off()
    axes.set_xlim(-0.01, 1)
    axes.set_ylim(max(len(parts), 1) - 0.5, -0.5)
    for y, part in enumerate(parts):
        checks = part["checks"]
        color = VERDICTS.get(part["verdict"], OTHER)
        axes.plot(0.015, y, "o", color=color, markersize=8)
        axes.text(0.05, y, part["part"], va="center")
        axes.text(0.4, y, part["verdict"], va="center", color=color)
        good = sum(check["passed"] for check in checks)
        axes.text(0.77, y, f"{good} of {len(checks)}" if checks else "", va="center", ha="right", color=MUTED)
        axes.text(1.0, y, f"{part['seconds']:.0f} s", va="center", ha="right", color=MUTED)


def _rates(axes: "Axes", rates: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
    y, ticks = 0.0, []
    for name, rows in rates:
        for row in rows:
            share = 100 * row["share of the matmul ceiling"]
            axes.barh(y, share, height=0.8, color=SLIPWAY if row["trainer"] == OURS else PLAIN)
            axes.text(
                share + 1,
                y,
                f"{share:.0f}%   {figure_of(row['tokens/s, median'])} tokens/s",
                va="center",
                fontsize=9.5,
                color=MUTED,
            )
            ticks.append((y, f"{name}   {row['trainer']}"))
            y += 1
        y += 0.6
    axes.axvline(100 * CEILING, color="#d9541e", linewidth=1, linestyle="--")
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(y - 0.9, -0.7)
    axes.set_xlim(
        0, max(100.0, *(100 * row["share of the matmul ceiling"] + 30 for _, rows in rates for row in rows))
    )
    axes.set_title(f"Share of the matmul ceiling (%); the line: the goal of {CEILING:.0%} for dense shapes")


def _times(axes: "Axes", times: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    draw_shares(axes, [shares for _, shares in times], fontsize=9)
    axes.set_yticks(range(len(times)), [name for name, _ in times])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(times) - 0.5, -0.5)
    axes.set_title("Where a step's time goes (%)", pad=24)
