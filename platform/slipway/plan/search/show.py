"""Shows the outcome of a search to people."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from slipway.config.schema import RunConfig
from slipway.plan.memory import device_bytes
from slipway.plan.search.search import By, Found, Layout, arrangements, ranked
from slipway.plan.search.shortage import sentence
from slipway.plan.search.words import device_hours, limit, sharding, sizes
from slipway.words import duration, figure, size

PIPE_WIDTH = 140


def show(
    layouts: list[Layout],
    found: Sequence[tuple[RunConfig, Found]],
    top: int | None,
    by: By,
    *,
    every: bool = False,
) -> None:
    """Print the layouts, best first, and why the others were refused.

    top: rows at most; None: all. every: all variants of an arrangement of ranks, not only the best.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    if len({layout.world for layout in layouts}) > 1:
        console.print(_machines(layouts))
    rows = [(layout, 1) for layout in layouts] if every else arrangements(layouts)
    _print_wide(console, _layouts(rows, found[0][0], top, by))
    enumerated = sum(one.enumerated for _, one in found)
    variants = (
        "" if every else f", {len(rows):,} when each arrangement of ranks counts once (--all: every one)"
    )
    console.print(
        f"{len(layouts):,} of {enumerated:,} layouts fit{variants}; parallelism=auto takes the fastest."
    )
    if len(layouts) < enumerated:
        console.print(_refused(found))


def _print_wide(console: Console, table: Table) -> None:
    """Print a table in as many columns as it needs: a long line is better than half a number."""
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    width = console.width
    console.width = max(width, needed)
    console.print(table)
    console.width = width


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)


def _machines(layouts: list[Layout]) -> Table:
    """Return a table of the fastest layout on each number of devices, with its speed-up and efficiency."""
    best = sorted(
        {layout.world: layout for layout in reversed(ranked(layouts))}.values(), key=lambda one: one.world
    )
    table = _table("The fastest on each number of devices")
    for name in ("devices", "layout", "step", "device-hours", "speed-up", "efficiency"):
        table.add_column(name, justify="left" if name == "layout" else "right")
    first = best[0]
    for layout in best:
        hours = device_hours(layout)
        if layout.seconds is None or first.seconds is None or hours is None:
            table.add_row(f"{layout.world:,}", sizes(layout), *["-"] * 4)
            continue
        faster = first.seconds / layout.seconds
        efficiency = f"{faster * first.world / layout.world:.0%}"
        numbers = (duration(layout.seconds), figure(hours), f"{faster:.2f}", efficiency)
        table.add_row(f"{layout.world:,}", sizes(layout), *numbers)
    return table


def _layouts(rows: list[tuple[Layout, int]], config: RunConfig, top: int | None, by: By) -> Table:
    several = len({layout.world for layout, _ in rows}) > 1
    order = "fastest first" if by == "time" else "cheapest first"
    table = _table(f"Layouts of {config.model.name} on {config.cluster.name}, {order}")
    names = [
        "layout",
        "micro-\nbatch",
        "sharded",
        "recompute",
        "step",
        "device-\nhours",
        "memory",
        "left",
        "limited by",
    ]
    for name in ("", *["devices"] * several, *names):
        is_text = name in ("layout", "sharded", "recompute", "limited by")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for number, (layout, _) in enumerate(rows[:top], start=1):
        devices = [f"{layout.world:,}"] * several
        table.add_row(str(number), *devices, *_cells(layout, device_bytes(config)))
    return table


def _cells(layout: Layout, device: int | None) -> list[str]:
    training, hours = layout.config.training, device_hours(layout)
    shards = sharding(layout)
    name, share = limit(layout)
    return [
        sizes(layout),
        str(training.micro_batch_size),
        "-" if shards == "none" else f"ZeRO-{shards[-1]}",
        training.recompute,
        "-" if layout.seconds is None else duration(layout.seconds),
        "-" if hours is None else figure(hours),
        size(layout.memory),
        "-" if device is None else size(device - layout.memory),
        "-" if layout.seconds is None else f"{name.replace('_', ' ')} {share:.0%}",
    ]


def _refused(found: Sequence[tuple[RunConfig, Found]]) -> Table:
    table = _table("Refused")
    table.add_column("layouts", justify="right")
    table.add_column("because of")
    table.add_column("for example", overflow="fold")
    rejected = sum((one.rejected for _, one in found), start=type(found[0][1].rejected)())
    for reason, count in rejected.most_common():
        config, one = next((config, one) for config, one in found if reason in one.rejected)
        table.add_row(f"{count:,}", reason, sentence(config, one, reason))
    return table
