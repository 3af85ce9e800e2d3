"""The summary of a launch, printed on standard error: standard output is for the script alone."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slipway.config.schema import RunConfig
from slipway.launch import leftovers
from slipway.launch.placement import Placement
from slipway.launch.times import remarks
from slipway.plan import Plan
from slipway.plan.kept import said
from slipway.words import duration, figure

PIPE_WIDTH = 120

# Fields of a profile that have no part in a scheduler's script, by scheduler.
_NOT_OF = {"slurm": ("kubernetes",), "kubernetes": ("slurm", "container"), "local": ("kubernetes", "slurm")}
_NEVER = ("notes", "warnings", "sources", "description", "file_systems", "name")


def summarize(plans: Sequence[Plan], placement: Placement, workdir: Path, submitted: bool) -> None:
    """Print the summary of a launch on standard error."""
    table = Table(box=SIMPLE_HEAD, show_header=False, title_justify="left", title_style="bold")
    table.title = "Launch" if submitted else "Dry run: --submit submits what is on standard output"
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in [*rows(plans, placement, workdir), *shell(os.environ, placement, submitted)]:
        table.add_row(name, escape(value))
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        console = Console(stderr=True, highlight=False, width=PIPE_WIDTH, color_system=None)
    console.print(table)


def rows(plans: Sequence[Plan], placement: Placement, workdir: Path) -> list[tuple[str, str]]:
    """Return (what, value) pairs that summarize a launch."""
    config = plans[0].config
    cluster, resources = config.cluster, config.resources
    devices = resources.nodes * resources.devices_per_node
    many = f"{len(plans)} runs, each " if len(plans) > 1 else ""
    found = [
        ("run", config.run.name if len(plans) == 1 else f"{many}with a directory of its own"),
        ("cluster", f"{cluster.name} ({placement.scheduler})"),
        (
            "nodes",
            f"{many}{resources.nodes} x {resources.devices_per_node} {cluster.device.name} = {devices} devices",
        ),
        *_queue(placement),
        *(("chosen", line) for line in dict.fromkeys(map(said, plans)) if line),
        ("segments", f"{config.launch.chain} at most, {_limit(placement.minutes)}"),
        ("expected", _expected(plans, placement.minutes)),
        ("image", _image(config, placement)),
        ("below", _below(config, workdir)),
        *_pods(config),
    ]
    found += [
        ("note", remark)
        for remark in dict.fromkeys(one for plan in plans for one in remarks(plan, placement))
    ]
    found += [("warning", text) for text in cluster.warnings]
    unverified = matters(config, placement)
    if unverified:
        found.append(("unverified", f"not verified on this site: {', '.join(unverified)}"))
    return found


def shell(environment: Mapping[str, str], placement: Placement, submitted: bool) -> list[tuple[str, str]]:
    """Return (what, value) pairs about variables of this shell that a Slurm job does not take, and what that means."""
    if placement.scheduler != "slurm":
        return []
    found, options = leftovers.found(environment), leftovers.sbatchs(environment)
    rows = []
    if found:
        meant = "what is meant is said: +cluster.environment.NAME=VALUE"
        rows.append(("not taken", f"of this shell's variables: {', '.join(found)}; {meant}"))
    if options and not submitted:
        without = " ".join(f"-u {name}" for name in options)
        rows.append(("by hand", f"sbatch prefers some of them to the script: env {without} sbatch job.sh"))
    return rows


def matters(config: RunConfig, placement: Placement) -> list[str]:
    """Return the unverified fields of the profile that this launch uses."""
    left_out = (*_NOT_OF[placement.scheduler], *_NEVER)
    peak = "device.peak_tflops_"
    kept = []
    for field in config.cluster.unverified:
        first, *rest = field.split(".")
        of_other_queue = rest[:1] == ["queues"] and len(rest) > 1 and rest[1] != placement.queue_name
        if first == "network" and rest and rest[0].endswith("gb_per_s") and not config.launch.preflight:
            continue  # only the doctor measures against it
        if field.startswith(peak) and field != peak + config.training.precision:
            continue  # the estimate uses the peak of the run's precision
        if first not in left_out and not of_other_queue:
            kept.append(field)
    return kept


def _image(config: RunConfig, placement: Placement) -> str:
    if placement.scheduler == "local" and not config.launch.image:
        return "none: the `slipway` of this machine"
    return placement.image


def _below(config: RunConfig, workdir: Path) -> str:
    """Return the directory that relative paths start from."""
    kubernetes = config.cluster.kubernetes
    return f"{kubernetes.mount_path}, volume {kubernetes.volume_claim}" if kubernetes else str(workdir)


def _pods(config: RunConfig) -> list[tuple[str, str]]:
    if config.cluster.kubernetes is None:
        return []
    from slipway.launch.kubernetes import about

    return about.rows(config)


def _queue(placement: Placement) -> list[tuple[str, str]]:
    named = {"partition": placement.partition, "QoS": placement.qos, "account": placement.account}
    words = [f"{name} {value}" for name, value in named.items() if value]
    queue = [placement.queue_name] if placement.queue_name else []
    return [("queue", ", ".join([*queue, *words]))] if queue or words else []


def _limit(minutes: int | None) -> str:
    if minutes is None:
        return "as long as the site allows"
    return f"{duration(60 * minutes)} each"


def _expected(plans: Sequence[Plan], minutes: int | None) -> str:
    hours = [plan.time.hours for plan in plans]
    costs = [plan.time.device_hours for plan in plans]
    if any(one is None for one in (*hours, *costs)):
        return "not known: nothing is known of the profile's devices"
    longest, cost = max(one or 0.0 for one in hours), sum(one or 0.0 for one in costs)
    count = math.ceil(longest * 60 / minutes) if minutes else 0
    segments = f", {count} segment{'s' if count > 1 else ''}" if count else ""
    longest_of = "the longest " if len(plans) > 1 else ""
    share = plans[0].time.mfu or 0.0
    return f"{longest_of}{duration(longest * 3600)}{segments}, {figure(cost)} GPU-hours, at {share:.0%} of the peak"
