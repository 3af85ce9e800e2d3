"""The picture of a search: time of a step against memory of the fullest device, one point for each layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.files import whole
from slipway.plan.memory import GIB, device_bytes
from slipway.plan.search.search import Layout
from slipway.plan.search.words import limit, sizes
from slipway.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1f2933", "#66727f", "#e4e8ec"
# Told apart by people who see red and green alike (Okabe and Ito's palette), the most frequent limit first.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c")
STYLE: Any = {
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b6bec7",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}
LEFT, TOP = 0.085, 0.76
NAMED = 3
"""Layouts of the front that are named, the fastest one first."""


def draw(layouts: Sequence[Layout], config: RunConfig, path: Path) -> None:
    """Write the picture (PNG, 1600 x 1120) of layouts whose time is known. Raises OSError."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 7))
        axes = figure.add_axes((LEFT, 0.1, 0.88, TOP - 0.1))
        _points(axes, layouts)
        _device(axes, device_bytes(config))
        _front(axes, layouts)
        worlds = sorted({layout.world for layout in layouts})
        devices = ", ".join(f"{world:,}" for world in worlds)
        title = f"Layouts of {config.model.name} on {devices} × {config.cluster.device.name}"
        figure.text(LEFT, 0.95, title, fontsize=15, fontweight="bold", va="center", parse_math=False)
        axes.set_xlabel("memory of the fullest device, GiB")
        axes.set_ylabel("time of a step, s")
        with whole(path) as beside:
            figure.savefig(beside, format="png", dpi=160)


def _seconds(layout: Layout) -> float:
    assert layout.seconds is not None
    return layout.seconds


def _points(axes: "Axes", layouts: Sequence[Layout]) -> None:
    groups: dict[str, list[Layout]] = {}
    for layout in layouts:
        groups.setdefault(limit(layout)[0], []).append(layout)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    rest = len(COLORS) - 1
    for number, (name, group) in enumerate(ordered):
        axes.scatter(
            [layout.memory / GIB for layout in group],
            [_seconds(layout) for layout in group],
            s=22,
            color=COLORS[min(number, rest)],
            alpha=0.75,
            linewidths=0,
            label="limited by " * (number == 0) + name.replace("_", " "),
        )
    axes.set_yscale("log")
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    plain = FuncFormatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.figure.legend(  # type: ignore[union-attr]
        loc="upper left",
        bbox_to_anchor=(LEFT - 0.008, TOP + 0.045),
        ncols=7,
        fontsize=9.5,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _front(axes: "Axes", layouts: Sequence[Layout]) -> None:
    """Draw the front: the layouts that no other one beats in both time and memory."""
    front: list[Layout] = []
    for layout in sorted(layouts, key=lambda one: (_seconds(one), one.memory)):
        if not front or layout.memory < front[-1].memory:
            front.append(layout)
    axes.step(
        [layout.memory / GIB for layout in front],
        [_seconds(layout) for layout in front],
        where="pre",
        color=INK,
        linewidth=1.2,
    )
    several = len({layout.world for layout in layouts}) > 1
    chosen = sorted({index * (len(front) - 1) // (NAMED - 1) for index in range(NAMED)})
    for number, layout in enumerate((front[index] for index in chosen), start=1):
        _name(axes, layout, number, several)


def _name(axes: "Axes", layout: Layout, number: int, several: bool) -> None:
    """Mark a layout of the front by its number, and describe it above the axes."""
    x, y = layout.memory / GIB, _seconds(layout)
    devices = f"{layout.world:,} devices, " if several else ""
    training = layout.config.training
    what = f"microbatch {training.micro_batch_size}, recompute {training.recompute}: {duration(y)}"
    axes.plot(x, y, "o", markersize=13, mfc="white", mec=INK, mew=1.4)
    axes.text(x, y, str(number), fontsize=9, ha="center", va="center_baseline")
    line = f"{number}  {devices}{sizes(layout)}, {what}"
    axes.figure.text(LEFT, TOP + 0.145 - 0.032 * number, line, fontsize=9.5, va="center")


def _device(axes: "Axes", device: int | None) -> None:
    axes.set_xlim(left=0)
    if device is None:
        return
    axes.axvline(device / GIB, color="#d55e00", linewidth=1.2, linestyle="--")
    axes.set_xlim(right=device / GIB * 1.03)
    axes.text(
        device / GIB, 1.01, "a device's memory", transform=axes.get_xaxis_transform(), ha="right", fontsize=9
    )
