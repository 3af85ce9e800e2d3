"""The job that evaluates a run's checkpoints: one device, the arguments of `slipway evaluate`, no training."""

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
    """Refuse options that have no effect on an evaluation, and arguments that the job sets itself. Raises UserError."""
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
    """Split the value of --evaluate into arguments for `slipway evaluate` and return them.

    Raises UserError if a quote is not closed.
    """
    try:
        return shlex.split(options.evaluate)
    except ValueError as error:
        raise UserError(
            "launch --evaluate", f"cannot be read: {error}", value=options.evaluate, do="close its quotes"
        ) from None


def of_job(config: RunConfig) -> RunConfig:
    """Return the evaluation's job as a run of one device.

    It has a directory of its own, so that its state is never taken for the training's.
    """
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
    """Return the directory of the job's script, record and log."""
    return RunDir(config.run.dir).evaluations / "job"


def verb(config: RunConfig, words: list[str]) -> list[str]:
    """Return what the job runs: the words after `slipway`, before `--plan FILE`."""
    return ["evaluate", f"run.dir={config.run.dir}", *words]
