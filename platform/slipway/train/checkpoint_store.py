"""The folder of a run's checkpoints: names, verification, commit, retention. Imports no torch.

checkpoints/step-00000010/       complete: it got this name by a rename, after everything was on disk
checkpoints/.step-00000020.tmp/  being written or removed, or left by an interrupted save: never read
checkpoints/latest               the name of the checkpoint committed last
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.config.schema import Checkpoint, Parallelism, RunConfig
from slipway.data.ledger import DataLedger
from slipway.errors import UserError
from slipway.train import checkpoint_manifest
from slipway.train.checkpoint_index import check_index
from slipway.train.checkpoint_manifest import Damaged, Entry

INFO = "slipway.json"
POINTER = "latest"
_NAME = re.compile(r"step-(\d{8,})")


class CheckpointInfo(BaseModel):
    """What a checkpoint says of itself (slipway.json)."""

    model_config = ConfigDict(frozen=True)

    step: int
    updates: int
    """Optimizer updates so far: fewer than steps where batches were left out."""
    data: DataLedger
    """The position in the data: samples consumed of each source."""
    world_size: int
    parallelism: Parallelism
    precision: str
    model: dict[str, Any]
    versions: dict[str, str]
    validation_loss: float | None = None
    """Measured at this step."""
    recent_losses: list[float] = []
    """For the guard: see slipway.train.guard."""

    @property
    def consumed_samples(self) -> int:
        """Samples behind the run."""
        return self.data.total


class Newest(NamedTuple):
    """The newest good checkpoint, and the newer ones that are not: (path, what is wrong), newest first."""

    path: Path | None
    skipped: list[tuple[Path, str]]


def folder(run_dir: Path) -> Path:
    """Where the checkpoints of a run are."""
    return run_dir / "checkpoints"


def step_of(path: Path) -> int:
    """The step in the name of a complete checkpoint."""
    match = _NAME.fullmatch(path.name)
    assert match, path
    return int(match[1])


def complete(run_dir: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    root = folder(run_dir)
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if _NAME.fullmatch(path.name)), key=step_of)


def latest(run_dir: Path) -> Path | None:
    """The checkpoint committed last: what the pointer names, else the newest complete one. Not verified."""
    try:
        name = (folder(run_dir) / POINTER).read_text().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if _NAME.fullmatch(name) and (folder(run_dir) / name).is_dir():
        return folder(run_dir) / name
    return next(reversed(complete(run_dir)), None)


def newest_good(run_dir: Path, content: bool = True) -> Newest:
    """The newest checkpoint that passes verify (with content=False, verify's checks but for the checksums)."""
    skipped = []
    for path in reversed(complete(run_dir)):
        try:
            verify(path, content)
        except Damaged as error:
            skipped.append((path, str(error)))
        else:
            return Newest(path, skipped)
    return Newest(None, skipped)


def verify(path: Path, content: bool = True) -> None:
    """Raise Damaged where the checkpoint is not what was committed, or its index holds anything foreign.

    content: compare the checksum of every file, which reads all of them; else only names, sizes and the index.
    """
    manifest = checkpoint_manifest.read(path)
    checkpoint_manifest.check_sizes(path, manifest)
    if content:
        checkpoint_manifest.check_content(path, manifest)
    check_index(path)
    if read_info(path).step != step_of(path):
        raise Damaged(f"{INFO}: of step {read_info(path).step}")


def read_info(path: Path) -> CheckpointInfo:
    """Raises Damaged where the file is missing or not what this version writes."""
    try:
        return CheckpointInfo.model_validate_json((path / INFO).read_bytes())
    except OSError as error:
        raise Damaged(f"{INFO}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"{INFO}: {where + ': ' if where else ''}{first['msg']}") from None


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
    for stale in root.glob(".*.tmp"):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    path = root / f".step-{step:08d}.tmp"
    path.mkdir()
    return path


def commit(temporary: Path, info: CheckpointInfo, known: Mapping[str, Entry] | None = None) -> Path:
    """Describe the checkpoint, list its files, flush everything, give the folder its name, move the pointer.

    known: manifest entries of files that need not be read again.
    """
    (temporary / INFO).write_text(json.dumps(info.model_dump(mode="json"), indent=2) + "\n")
    manifest = checkpoint_manifest.make(temporary, known)
    (temporary / checkpoint_manifest.FILE).write_text(manifest.text())
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    root = temporary.parent
    final = root / f"step-{info.step:08d}"
    if final.exists():  # the same step, reached again after a continuation from an older checkpoint
        _remove(final)
    temporary.rename(final)
    _flush(root)
    pointer = root / f".{POINTER}.tmp"
    pointer.write_text(final.name + "\n")
    _flush(pointer)
    pointer.rename(root / POINTER)
    _flush(root)
    return final


def retain(newest: Path, settings: Checkpoint) -> list[Path]:
    """Remove what is not to be kept now that `newest` is committed; returns what was removed.

    Later steps go, too: the run continued before them because they were damaged, or were to be undone.
    """
    step = step_of(newest)
    steps = {step_of(path): path for path in complete(newest.parent.parent)}
    kept = to_keep(
        [s for s in steps if s <= step], settings, _losses(steps.values()) if settings.keep_best else {}
    )
    removed = [path for s, path in steps.items() if s not in kept]
    for path in removed:
        _remove(path)
    return removed


def to_keep(steps: list[int], settings: Checkpoint, losses: Mapping[int, float]) -> set[int]:
    """Those of the steps that keep_last, keep_every and keep_best keep; losses: validation losses by step."""
    if settings.keep_last is None:
        return set(steps)
    always = {s for s in steps if settings.keep_every and s % settings.keep_every == 0}
    ranked = sorted((s for s in steps if s in losses), key=lambda s: (losses[s], s))
    return always | set(ranked[: settings.keep_best]) | set(sorted(steps)[-settings.keep_last :])


def _losses(paths: Iterable[Path]) -> dict[int, float]:
    """Validation losses by step, of those checkpoints that have one."""
    losses = {}
    for path in paths:
        with contextlib.suppress(Damaged):
            loss = read_info(path).validation_loss
            if loss is not None:
                losses[step_of(path)] = loss
    return losses


def system_error(error: BaseException) -> OSError | None:
    """The operating system's error behind a failed save: itself, a cause of it, or what a rank reported."""
    seen: list[BaseException] = [error]
    for found in seen:  # grows while it is read
        if isinstance(found, OSError) and found.errno:
            return found
        of_ranks = [
            pair[0] for pair in getattr(found, "failures", {}).values()
        ]  # torch's CheckpointException
        more = [found.__cause__, found.__context__, *of_ranks]
        seen += [e for e in more if isinstance(e, BaseException) and not any(e is s for s in seen)]
    return None


def _remove(path: Path) -> None:
    """Rename first: a folder that is half removed is never taken for a checkpoint."""
    doomed = path.with_name(f".{path.name}.removed.tmp")
    if doomed.exists():
        shutil.rmtree(doomed)
    path.rename(doomed)
    shutil.rmtree(doomed)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
