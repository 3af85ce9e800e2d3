"""A run as it was trained, and one of its checkpoints, for those who read them. Imports no torch."""

import sys
from pathlib import Path

from slipway import models
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.checkpoint.store import CheckpointInfo
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import plan_file
from slipway.run_dir import RunDir


def trained(run_dir: Path) -> RunConfig:
    """Return the configuration that a run was trained with, from its plan.json.

    Raises UserError if no run has begun in the directory.
    """
    if not run_dir.is_dir():
        raise UserError("run.dir", "does not exist", value=run_dir, do="name the directory of a run")
    plan = RunDir(run_dir).plan
    if not plan.is_file():
        raise UserError(
            "run.dir",
            f"has no {plan.name}: no run was started there",
            value=run_dir,
            do="name the directory of a run",
        )
    config = plan_file.read_config(plan)
    return config.model_copy(update={"run": config.run.model_copy(update={"dir": run_dir})})


def check_absent(option: str, target: Path) -> None:
    """Raise UserError if something exists at the place that an export is to be written to."""
    if target.exists() or target.is_symlink():
        raise UserError(option, "already exists", value=target, do="remove it, or name another one")


def checkpoint(config: RunConfig, step: int | None, command: str) -> tuple[Path, CheckpointInfo]:
    """Return the verified checkpoint of a step, or the newest good one, and its description.

    command: for messages. Raises UserError if no checkpoint is good, or if it belongs to another model.
    """
    path = _chosen(config.run.dir, step, command)
    info = store.read_info(path)
    if info.shape != models.shape(config):
        raise UserError(
            path,
            "belongs to a different model than plan.json beside it",
            do="put the run's own plan.json back",
        )
    return path, info


def _chosen(run_dir: Path, step: int | None, command: str) -> Path:
    if step is None:
        newest = store.newest_good(run_dir)
        for path, problem in newest.skipped:
            print(f"{path} is damaged and skipped: {problem}", file=sys.stderr, flush=True)
        if newest.path is None:
            raise UserError(
                "run.dir",
                f"{store.folder(run_dir)} holds no undamaged checkpoint",
                do="train until one is saved, or name another run",
            )
        return newest.path
    complete = {store.step_of(path): path for path in store.complete(run_dir)}
    if step not in complete:
        there = ", ".join(map(str, complete)) or "none"
        raise UserError(
            f"{command} --step",
            f"is not in {store.folder(run_dir)}, which holds {there}",
            value=step,
            do="choose one of those steps",
        )
    try:
        store.verify(complete[step])
    except Damaged as error:
        raise UserError(complete[step], f"is damaged: {error}", do="choose another --step") from None
    return complete[step]
