"""Draws the picture of `slipway bench device`: measured times beside those that the constants give.

Imports matplotlib.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from slipway.bench.device import fit
from slipway.bench.device.timed import Timed
from slipway.bench.record import describe_machine, describe_versions
from slipway.files import whole
from slipway.plan.step.hardware import Hardware
from slipway.report.curve import MUTED, STYLE

COLORS = {
    "linear": "#1f5fa8",
    "grouped": "#5a9bd8",
    "attention": "#3f8f6b",
    "attention_backward": "#8cc3a5",
    "all_reduce": "#d9541e",
    "all_gather": "#e08a4f",
    "reduce_scatter": "#c08a2e",
}


def draw(
    samples: Sequence[Timed], constants: Hardware, ranks: int, record: Mapping[str, Any], path: Path
) -> None:
    """Write the picture (PNG). record: of machine and versions."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 5.6))
        figure.text(0.03, 0.94, "What the device reaches", fontsize=17, fontweight="bold", va="center")
        foot = f"{describe_machine(record)}   ·   {record['date'][:10]}\n{describe_versions(record)}"
        figure.text(0.03, 0.04, foot, color=MUTED, fontsize=8, va="center", parse_math=False)
        for place, (title, kinds) in enumerate(
            (("Products", [k for k in COLORS if k not in fit.EXCHANGES]), ("Exchanges", list(fit.EXCHANGES)))
        ):
            axes = figure.add_axes((0.08 + 0.5 * place, 0.2, 0.4, 0.62))
            shown = [
                (kind, one.seconds * 1e3, seconds * 1e3)
                for kind in kinds
                for one in samples
                if one.kind == kind and (seconds := fit.predicted(one, constants, ranks))
            ]
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_title(title if shown else f"{title}: one rank exchanges nothing", loc="left")
            axes.set_xlabel("measured (ms)")
            axes.set_ylabel("by the constants (ms)")
            if not shown:
                continue
            for kind in dict.fromkeys(kind for kind, *_ in shown):
                points = [(x, y) for each, x, y in shown if each == kind]
                axes.plot(
                    *zip(*points, strict=True),
                    "o",
                    ms=4,
                    alpha=0.8,
                    color=COLORS[kind],
                    label=kind.replace("_", " "),
                )
            least, most = min(min(x, y) for _, x, y in shown), max(max(x, y) for _, x, y in shown)
            ends = [10.0 ** floor(log10(least)), 10.0 ** ceil(log10(most))]  # whole decades: one tick each
            axes.plot(ends, ends, color=MUTED, lw=1, zorder=0)
            for axis, limits in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
                limits(*ends)
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())
            axes.legend(loc="upper left", fontsize=9)
        with whole(path) as beside:
            figure.savefig(beside, format="png", dpi=160)
