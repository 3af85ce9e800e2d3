"""Whether a run can live in its directory: looked at before anything is written."""

import os
from collections.abc import Callable
from pathlib import Path

from slipway.access import cannot_write
from slipway.errors import UserError
from slipway.files import nearest_existing

FOLDERS = ("checkpoints", "hangs", "logs", "segments", "tensorboard", "wandb")
FILES = ("metrics.jsonl", "plan.json", "bad_nodes", ".lock", ".lock.holder")


def check(run_dir: Path) -> None:
    """Raises UserError where the directory cannot be made, written to, or holds one thing in the place of another."""
    nearest = nearest_existing(run_dir)
    if not nearest.is_dir():
        raise UserError("run.dir", f"cannot be created: {nearest} is not a directory", value=run_dir)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError("run.dir", cannot_write(nearest))
    for name in FOLDERS:
        _check(run_dir / name, "a directory", Path.is_dir, os.W_OK | os.X_OK)
    for name in FILES:
        _check(run_dir / name, "a file", Path.is_file, os.R_OK | os.W_OK)


def _check(path: Path, what: str, is_right: Callable[[Path], bool], rights: int) -> None:
    if not path.exists():
        return
    if not is_right(path):
        raise UserError(
            "run.dir",
            f"is not {what}, which the run needs there",
            value=path,
            do="move it away, or choose another run.dir",
        )
    if not os.access(path, rights):
        raise UserError(
            "run.dir",
            "cannot be written",
            value=path,
            do="ask its owner for permission, or choose another run.dir",
        )
