"""The folder of a run's checkpoints: names, what each one says of itself, and the commit. Imports no torch.

checkpoints/step-00000010/       complete: it got this name by a rename, after everything was on disk
checkpoints/.step-00000020.tmp/  being written, or left by an interrupted save: never read
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError

INFO = "slipway.json"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointInfo(BaseModel):
    """What a checkpoint says of itself (slipway.json)."""

    model_config = ConfigDict(frozen=True)

    step: int
    consumed_samples: int
    world_size: int
    parallelism: Parallelism
    precision: str
    model: dict[str, Any]
    versions: dict[str, str]


def folder(run_dir: Path) -> Path:
    """Where the checkpoints of a run are."""
    return run_dir / "checkpoints"


def complete(run_dir: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    root = folder(run_dir)
    if not root.is_dir():
        return []
    found = [(int(m[1]), path) for path in root.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def latest(run_dir: Path) -> Path | None:
    """The newest complete checkpoint."""
    return next(reversed(complete(run_dir)), None)


def read_info(path: Path) -> CheckpointInfo:
    """Raises UserError where the file is missing or not what this version writes."""
    file = path / INFO
    try:
        return CheckpointInfo.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(
            f"checkpoint {path}: cannot read {INFO} ({error.strerror}); remove this folder to continue "
            "from the checkpoint before it"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"checkpoint {file}: {where}: {first['msg']}; remove this folder to continue from the one before it"
        ) from None


def check_fits(info: CheckpointInfo, config: RunConfig, path: Path) -> None:
    """Any layout may continue any checkpoint; model and precision must be the same. Raises UserError."""
    now = config.model.model_dump(mode="json")
    for name in sorted(now.keys() | info.model.keys()):
        if name != "name" and now.get(name) != info.model.get(name):
            raise UserError(
                f"model.{name}: {now.get(name)} differs from {info.model.get(name)} in checkpoint {path}; "
                "set it back, or choose another run.dir"
            )
    if info.precision != config.training.precision:
        raise UserError(
            f"training.precision: {config.training.precision} differs from {info.precision} in checkpoint "
            f"{path}; set it back, or choose another run.dir"
        )
    if info.step > config.training.steps:
        raise UserError(
            f"training.steps: {config.training.steps} is below step {info.step} of checkpoint {path}; "
            f"allowed: at least {info.step}"
        )


def begin(run_dir: Path, step: int) -> Path:
    """A fresh temporary folder for the checkpoint of `step`; what an interrupted save left is removed."""
    root = folder(run_dir)
    root.mkdir(parents=True, exist_ok=True)
    for stale in root.glob(".step-*.tmp"):
        shutil.rmtree(stale)
    path = root / f".step-{step:08d}.tmp"
    path.mkdir()
    return path


def commit(temporary: Path, info: CheckpointInfo) -> Path:
    """Write what the checkpoint says of itself, flush everything, and give the folder its final name."""
    file = temporary / INFO
    file.write_text(json.dumps(info.model_dump(mode="json"), indent=2) + "\n")
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    final = temporary.parent / f"step-{info.step:08d}"
    if final.exists():  # the same step, reached again after a continuation from an older checkpoint
        shutil.rmtree(final)
    temporary.rename(final)
    _flush(temporary.parent)
    return final


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
