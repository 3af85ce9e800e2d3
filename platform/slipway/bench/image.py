"""`slipway bench image`: measures an image's size, a rebuild after a change, and the start in Apptainer."""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slipway.bench.options import at_least
from slipway.bench.record import named, publish
from slipway.errors import EXIT_DONE, UserError
from slipway.image import build as builds
from slipway.image import engine as engines
from slipway.image import pins, shell, wheels

CONTEXT = ("platform", "conf", "deploy", "containers")
SIZE_GB, REBUILD_SECONDS, HELP_SECONDS = 1.7, 15.0, 1.0  # targets for the variant cpu


@dataclass(frozen=True)
class Row:
    """One measurement, in the unit that `what` names."""

    what: str
    median: float
    least: float
    most: float
    target: str = named("target, below")


@dataclass(frozen=True)
class Summary:
    """The load of the machine."""

    load: float = named("load of the machine at the end (1 minute)")
    cores: int = named("cores")


def run(options: argparse.Namespace) -> int:
    """Measure, print, and return the exit code; commands are printed as they run.

    Raises UserError if the SIF does not exist.
    """
    at_least("bench image --repeat", options.repeat, 1)
    root = pins.checkout(options.context)
    variant = pins.variant(root, options.variant).name
    engine = engines.choose(options.engine, dry_run=False)
    tag = options.tag or f"slipway:{variant}"
    sif = options.sif or root / "dist" / "image" / f"slipway-{variant}.sif"
    if not sif.is_file():
        raise UserError(
            "bench image --sif", "is not a file", value=sif, do="create one with `slipway image sif`"
        )
    shell.need("apptainer", "bench")

    size = image_bytes(engine, tag) / 1e9
    rebuilds = rebuild_seconds(engine, root, variant, options.repeat)
    helps = [seconds_of(["apptainer", "exec", str(sif), "slipway", "--help"]) for _ in range(options.repeat)]
    rows = [
        _row("image size, GB", [size], SIZE_GB),
        _row("SIF size, GB", [sif.stat().st_size / 1e9], None),
        _row("cached rebuild after a change of the source, s", rebuilds, REBUILD_SECONDS),
        _row("apptainer exec ... slipway --help, s", helps, HELP_SECONDS),
    ]
    summary = Summary(load=os.getloadavg()[0], cores=os.cpu_count() or 1)
    publish("image", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def _row(what: str, measured: list[float], target: float | None) -> Row:
    return Row(
        what=what,
        median=median(measured),
        least=min(measured),
        most=max(measured),
        target="" if target is None else f"{target:g}",
    )


def image_bytes(engine: str, tag: str) -> int:
    """Return the bytes of all layers of an image, uncompressed, as the engine counts them."""
    found = shell.answer([engine, "image", "inspect", tag])
    return int(json.loads(found)[0]["Size"])


def rebuild_seconds(engine: str, root: Path, variant: str, repeat: int) -> list[float]:
    """Return the wall times of builds after a change of one line in one module; all layers below are cached."""
    tag = f"slipway-bench:{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="slipway-image-") as folder:
        context = copy_context(root, Path(folder) / "context")
        build = builds.Build(engine, context, variant, tag, wheels=wheels.of_pip(root))
        shell.run([*builds.command(build)])
        changed = context / "platform" / "slipway" / "errors.py"
        seconds = []
        try:
            for turn in range(repeat):
                changed.write_text(f"{changed.read_text()}\n# a change, {time.time_ns()}, turn {turn}\n")
                started = time.perf_counter()
                shell.run(builds.command(build))
                seconds.append(time.perf_counter() - started)
        finally:
            subprocess.run([engine, "rmi", "--force", tag], capture_output=True)
    return seconds


def copy_context(root: Path, target: Path) -> Path:
    """Copy what the Dockerfile copies, so that it can be changed without changing the checkout; return the copy."""
    target.mkdir(parents=True)
    for folder in CONTEXT:
        shutil.copytree(root / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy2(root / name, target / name)
    return target


def seconds_of(command: Sequence[str]) -> float:
    """Return the wall time of a command; its output is discarded."""
    shell.say(command)
    started = time.perf_counter()
    shell.answer(command)
    return time.perf_counter() - started
