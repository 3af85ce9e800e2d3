"""Profiles as tables for people."""

import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slipway.clusters import marks
from slipway.config.cluster import Cluster, Queue
from slipway.launch.kubernetes import security
from slipway.launch.placement import scheduler_of

PIPE_WIDTH = 200  # columns, if no window limits them
MARK = "unverified"


def print_clusters(clusters: dict[str, Cluster]) -> None:
    """Print the list of profiles, one line each."""
    table = _table("Clusters")
    for column in ("name", "site", "scheduler", "nodes x devices", "device", "queues"):
        table.add_column(column, overflow="fold")
    table.add_column(MARK, justify="right")
    for name, cluster in clusters.items():
        table.add_row(
            escape(name),
            escape(cluster.description) or "-",
            scheduler_of(cluster),
            _size(cluster),
            escape(cluster.device.name),
            escape(", ".join(cluster.slurm.queues)) if cluster.slurm else "-",
            str(len(marks.unverified(cluster)) or "-"),
        )
    console = _console()
    console.print(table)
    console.print(
        f"{MARK}: not verified on the site; `slipway clusters NAME` marks them.\n"
        "A profile of your own: docs/clusters.md",
        markup=False,
    )


def print_cluster(name: str, cluster: Cluster, file: Path) -> None:
    """Print everything that one profile says."""
    console = _console()
    console.print(f"[bold]{escape(name)}[/]  {escape(cluster.description)}")
    console.print(f"{scheduler_of(cluster)}, {_size(cluster)} ({file})\n", markup=False)
    for warning in cluster.warnings:
        console.print(f"! {warning}", markup=False)
    for note in cluster.notes:
        console.print(f"- {note}", markup=False)
    if cluster.kubernetes:
        console.print(f"- Pod Security: {security.in_words(cluster.kubernetes)}.", markup=False)
    if cluster.slurm:
        console.print(_queues(cluster, cluster.slurm.queues))
    table = _table("Values")
    for column in ("field", "", "value", "source"):
        table.add_column(column, overflow="fold")
    section = ""
    for path, value in marks.values(cluster):
        if path.startswith("slurm.queues."):
            continue
        if section != (section := path.rpartition(".")[0]) and table.row_count:
            table.add_section()
        shown = _numbers(cluster, path) if marks.is_stated(value) else ""
        table.add_row(escape(path), _mark(cluster, path, value), escape(_text(value)), shown)
    console.print(table)
    for number, source in enumerate(cluster.sources, 1):
        console.print(f"[{number}] {source.document}", markup=False)
    named = {"unverified": cluster.unverified, "sources": [of for one in cluster.sources for of in one.of]}
    for field, paths in named.items():
        wrong = [path for path in paths if not marks.has(cluster, path)]
        if wrong:
            console.print(f"{field}: no such field: {', '.join(wrong)}", markup=False)


def _queues(cluster: Cluster, queues: dict[str, Queue]) -> Table:
    table = _table("Queues, in the order they are tried")
    for column in ("launch.partition", "partition", "QoS"):
        table.add_column(column)
    table.add_column("nodes", justify="right")
    table.add_column("hours", justify="right")
    table.add_column("")
    table.add_column("source")
    for name, queue in queues.items():
        at = f"slurm.queues.{name}"
        marked = [path.rpartition(".")[2] for path in marks.unverified(cluster, [at])]
        every = len(marked) == sum(map(marks.is_stated, queue.model_dump().values()))
        most = queue.max_nodes or cluster.nodes
        table.add_row(
            escape(name),
            escape(queue.partition or "the site's default"),
            escape(queue.qos or "-"),
            f"{queue.min_nodes}-{most}" if most else f"{queue.min_nodes} or more",
            f"{queue.max_hours:g}" if queue.max_hours else "-",
            ""
            if not marked
            else f"[yellow]{MARK}[/]"
            if every
            else f"[yellow]{MARK}: {', '.join(marked)}[/]",
            _numbers(cluster, at),
        )
    return table


def _numbers(cluster: Cluster, path: str) -> str:
    return escape(" ".join(f"[{number}]" for number in marks.sources(cluster, path)))


def _mark(cluster: Cluster, path: str, value: object) -> str:
    return f"[yellow]{MARK}[/]" if marks.is_stated(value) and marks.is_unverified(cluster, path) else ""


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if not marks.is_stated(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _size(cluster: Cluster) -> str:
    nodes = f"{cluster.nodes:,}" if cluster.nodes else "any"
    return f"{nodes} x {cluster.devices_per_node or 'any'}"


def _table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
