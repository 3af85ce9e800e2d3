"""A job of its own that evaluates a run's checkpoints: one device, the words of `slipway evaluate`, no training."""

import argparse
import shlex
from pathlib import Path

from slipway.config.schema import Kernels, Parallelism, RunConfig
from slipway.errors import UserError
from slipway.run_dir import RunDir

ONE_DEVICE = {"nodes": 1, "devices_per_node": 1, "elastic": False}
NOT_HERE = ("--device", "--plan", "--json")
"""Options of `slipway evaluate` that a job has no use for: it takes the device that it is given."""


def check(options: argparse.Namespace, sweep: bool) -> None:
    """Raise UserError for what has no effect on an evaluation, and for words that the job says itself."""
    if sweep:
        raise UserError(
            "launch --evaluate", "takes one run, and this is a sweep", do="launch it for each run"
        )
    for name, given in (("chain", options.chain is not None), ("preflight", options.preflight)):
        if given:
            raise UserError(
                f"launch --{name}", "has no effect on an evaluation, which is one job", do="omit it"
            )
    for word in words_of(options):
        name = word.partition("=")[0]
        if name in NOT_HERE or name == "run.dir":
            raise UserError(
                f"launch --evaluate {name}",
                "is set by the job itself",
                do="omit it; run.dir=DIR names the run",
            )


def words_of(options: argparse.Namespace) -> list[str]:
    """Return the words for `slipway evaluate`. Raises UserError for quotes that do not end."""
    try:
        return shlex.split(options.evaluate)
    except ValueError as error:
        raise UserError("launch --evaluate", f"cannot be read: {error}", value=options.evaluate) from None


def of_job(config: RunConfig) -> RunConfig:
    """Return the job, as a run of one device in a folder of its own: what becomes of it is not the training's state."""
    training = config.training
    return config.model_copy(
        update={
            "run": config.run.model_copy(
                update={
                    "name": f"{config.run.name}-evaluation"[-200:].lstrip("._=,+-"),
                    "dir": folder(config),
                }
            ),
            "resources": config.resources.model_copy(update=ONE_DEVICE),
            "parallelism": Parallelism(),
            "kernels": Kernels(),
            "training": training.model_copy(
                update={
                    "global_batch_size": training.micro_batch_size,
                    "recompute": "none",
                    "recompute_modules": None,
                }
            ),
            "launch": config.launch.model_copy(update={"chain": 1, "preflight": False}),
        }
    )


def folder(config: RunConfig) -> Path:
    """Return where the job's script, record and log are."""
    return RunDir(config.run.dir).evaluations / "job"


def verb(config: RunConfig, words: list[str]) -> list[str]:
    """Return what the job runs: the words after `slipway`, before `--plan FILE`."""
    return ["evaluate", f"run.dir={config.run.dir}", *words]
