"""`slipway bench startup`: measures how long people wait for an answer, and the demo's ranks for their first step."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slipway import commands
from slipway.bench.record import named, publish
from slipway.errors import EXIT_DONE, UserError
from slipway.metrics import file as metrics_file
from slipway.run_dir import RunDir

ANSWERS = {
    "slipway --help": ["--help"],
    "slipway train --cfg job": ["train", "--cfg", "job"],
    "slipway plan of GPT-3 175B on 1,024 devices": [
        *("plan", "--json", "model=gpt3_175b", "cluster=h100_cloud", "resources.nodes=128"),
        *("data=files", "data.sources.files.inputs=[texts/]"),
    ],
}
FINISHED = "first training step finished"
LIMIT_SECONDS = 300


@dataclass(frozen=True)
class Row:
    """One wait, in seconds."""

    until: str = named("from the command to")
    median_s: float = named("median s")
    least_s: float = named("least s")
    most_s: float = named("most s")


@dataclass(frozen=True)
class Summary:
    """The wait that people feel most."""

    first_step_s: float = named("seconds to the first training step (median)")


def run(options: argparse.Namespace) -> int:
    """Measure each wait several times, print the medians, and return the exit code.

    Every run is a process of its own.
    """
    overrides = ["experiment=demo", *options.overrides]
    slipway(["data", *overrides])

    waits: dict[str, list[float]] = {}
    for _ in range(options.repeat):
        for name, words in ANSWERS.items():
            waits.setdefault(name, []).append(seconds_of(words))
        for name, seconds in first_step(overrides).items():
            waits.setdefault(name, []).append(seconds)
    rows = [Row(name, median(times), min(times), max(times)) for name, times in waits.items()]
    summary = Summary(median(waits[FINISHED]))
    publish("startup", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def first_step(overrides: Sequence[str]) -> dict[str, float]:
    """Return the seconds from `slipway train` to the beginning and to the end of step 1.

    The clock is that of metrics.jsonl.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-startup-") as folder:
        run_dir = Path(folder) / "run"
        started = time.time()
        slipway(["train", *overrides, f"run.dir={run_dir}", "training.stop_after_step=1"])
        records = metrics_file.read(RunDir(run_dir).metrics).records
    step = next(record for record in records if record["kind"] == "train")
    finished = step["time"] - started
    return {
        "first training step begun": finished - step["step_seconds"],
        FINISHED: finished,
    }


def seconds_of(words: Sequence[str]) -> float:
    """Return the wall time of one slipway command."""
    started = time.perf_counter()
    slipway(words)
    return time.perf_counter() - started


def slipway(words: Sequence[str]) -> None:
    """Run a slipway command as the shell would. Raises UserError, with the command's last line, if it fails."""
    command = [sys.executable, "-m", "slipway", *words]
    done = commands.call(command, seconds=LIMIT_SECONDS)
    if done.code:
        raise UserError(
            "bench startup",
            f"`slipway {' '.join(words)}` exited with code {done.code}: {done.last}",
            do="run that command by itself to see all of its output",
        )
