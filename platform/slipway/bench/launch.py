"""`slipway bench launch`: measures `slipway launch` of the largest runs and sweeps: its parts, and the command."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from slipway import commands
from slipway.bench.options import at_least
from slipway.bench.record import named, publish
from slipway.errors import EXIT_DONE, UserError

TRIED = ("data=stdlib", "data.allow_large_models=true")
NODES = 5884  # of JUPITER Booster
LARGEST = [
    *("cluster=jupiter_booster", "model=gpt3_175b", "parallelism=tp4_pp2", *TRIED),
    *("launch.account=bench", f"resources.nodes={NODES}", f"training.global_batch_size={NODES * 2}"),
]
CLOUD = [
    *(
        "cluster=gke",
        "model=gpt3_175b",
        "parallelism=tp4_pp2",
        *TRIED,
        "resources.nodes=1000",
    ),
    "training.global_batch_size=4000",
]
SWEEP = ["-m", "cluster=slurm", "model=demo", "launch.account=bench"]
LIMIT_SECONDS = 300


class Parts(NamedTuple):
    """Seconds of each part, and the size of the text."""

    compose_s: float
    plan_s: float
    render_s: float
    text_kb: float


@dataclass(frozen=True)
class Row:
    """Medians of one launch: the parts, and the whole command in a process of its own."""

    launch: str
    compose_s: float = named("compose, s")
    plan_s: float = named("plan, s")
    render_s: float = named("render, s")
    text_kb: float = named("text, KB")
    command_s: float = named("whole command, s")


@dataclass(frozen=True)
class Summary:
    """Seconds of all parts, by launch."""

    parts_s: dict[str, float] = named("{key}: all parts, s")


def run(options: argparse.Namespace) -> int:
    """Measure each launch several times, print the medians, and return the exit code."""
    at_least("bench launch --repeat", options.repeat, 1)
    at_least("bench launch --jobs", options.jobs, 1)

    sweep = [*SWEEP, f"training.seed=range({options.jobs})"]
    cases: dict[str, tuple[list[str], Callable[[], Parts]]] = {
        f"{NODES:,} nodes x 4, Slurm": (LARGEST, lambda: parts_of_one(LARGEST)),
        "1,000 nodes x 8, JobSet": (CLOUD, lambda: parts_of_one(CLOUD)),
        f"a sweep of {options.jobs:,}, Slurm": (sweep, lambda: parts_of_sweep(sweep[1:])),
    }
    rows = []
    for name, (words, measure) in cases.items():
        measured = [(measure(), command_seconds(words)) for _ in range(options.repeat)]
        parts = Parts(*(median(of_part) for of_part in zip(*(found for found, _ in measured), strict=True)))
        rows.append(Row(name, *parts, median(seconds for _, seconds in measured)))
    summary = Summary({row.launch: row.compose_s + row.plan_s + row.render_s for row in rows})
    publish("launch", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def parts_of_one(words: Sequence[str]) -> Parts:
    """Return the seconds to compose, plan and render one run, within this process."""
    from slipway.config.compose import compose

    return _parts(lambda: [compose(words)])


def parts_of_sweep(words: Sequence[str]) -> Parts:
    """Return the seconds to compose, plan and render a sweep, within this process."""
    from slipway.config.sweep_compose import compose_sweep

    return _parts(lambda: compose_sweep(list(words)))


def command_seconds(words: Sequence[str]) -> float:
    """Return the wall time of `slipway launch` in a process of its own.

    Raises UserError, with the command's last line, if it fails.
    """
    command = [sys.executable, "-m", "slipway", "launch", *words]
    started = time.perf_counter()
    done = commands.call(command, seconds=LIMIT_SECONDS)
    if done.code:
        raise UserError(
            "bench launch",
            f"`slipway launch` exited with code {done.code}: {done.last}",
            do="run that command by itself to see all of its output",
        )
    return time.perf_counter() - started


def _parts(compose_all: Callable[[], list]) -> Parts:
    from slipway.launch.command import render
    from slipway.launch.placement import place
    from slipway.plan import make_plan

    begun = time.perf_counter()
    configs = compose_all()
    composed = time.perf_counter()
    plans = [make_plan(config) for config in configs]
    planned = time.perf_counter()
    text = render(plans, place(configs[0]), Path("/project"))
    rendered = time.perf_counter()
    assert json.dumps(configs[-1].run.name)[1:-1] in text
    return Parts(composed - begun, planned - composed, rendered - planned, len(text) / 1e3)
