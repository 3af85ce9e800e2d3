"""The folder of a run's checkpoints: names, verification, choice, commit. Imports no torch.

checkpoints/step-00000010/       complete: it got this name by a rename, after everything was on disk
checkpoints/.step-00000020.tmp/  being written or removed, or left by an interrupted save: never read
checkpoints/step-00000010.aside/ was found damaged, or stood where another was committed: never read, never removed
checkpoints/latest               the name of the checkpoint committed last
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import files, models
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.checkpoint.index import INDEX, check_index, check_listed
from slipway.checkpoint.manifest import Damaged, Entry
from slipway.checkpoint.pickles import COMMON, check_tensors
from slipway.config import budget
from slipway.config.schema import Parallelism, RunConfig
from slipway.data.ledger import DataLedger
from slipway.errors import UserError
from slipway.records import first_problem
from slipway.run_dir import RunDir

INFO = "slipway.json"
FORMAT = "metadata.json"
"""Megatron-core's file that names the format in which the tensors are stored."""
POINTER = "latest"
_NAME = re.compile(r"step-(\d{8,})")

Warn = Callable[[str], None]
"""Takes a line about something that went wrong but harms no checkpoint."""


class Imported(BaseModel):
    """The source of a checkpoint's weights if no training wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    """The format of the file: see slipway.models.formats."""
    file: str
    """Its name, without folders."""
    sha256: str


class CheckpointInfo(BaseModel):
    """A checkpoint's description of itself (slipway.json)."""

    model_config = ConfigDict(frozen=True)

    step: int
    updates: int
    """Optimizer updates so far: fewer than steps if batches were skipped."""
    data: DataLedger
    """The position in the data: samples consumed of each source."""
    world_size: int
    parallelism: Parallelism
    precision: str
    shape: dict[str, Any]
    """The settings that the weights depend on: see slipway.models.shape."""
    optimizer: str = "adamw"
    """The optimizer whose states it holds; older checkpoints, which are AdamW's, do not name it."""
    versions: dict[str, str]
    validation_loss: float | None = None
    """Measured at this step."""
    recent_losses: list[float] = []
    """The guard's recent losses: see slipway.train.guard."""
    uneven: dict[str, int] = {}
    """The guard's uneven places."""
    step_samples: int = 0
    """Samples of the batches of all steps, without those that a rollback excluded."""
    imported: Imported | None = None
    """None: written by a training.

    Otherwise no rank has written it: it holds no generators and no optimizer's states, which are zero before the first
    update.
    """

    @property
    def consumed_samples(self) -> int:
        """Samples that the run has read."""
        return self.data.total


class Newest(NamedTuple):
    """The newest good checkpoint, and the newer ones that are not: (path, what is wrong), newest first."""

    path: Path | None
    skipped: list[tuple[Path, str]]


def folder(run_dir: Path) -> Path:
    """Return the folder of a run's checkpoints."""
    return RunDir(run_dir).checkpoints


def step_of(path: Path) -> int:
    """Return the step in the name of a complete checkpoint."""
    match = _NAME.fullmatch(path.name)
    assert match, path
    return int(match[1])


def complete(run_dir: Path) -> list[Path]:
    """Return the complete checkpoints, oldest first. Raises Unreadable if the folder cannot be listed."""
    root = folder(run_dir)
    return sorted((root / name for name in files.names(root) if _NAME.fullmatch(name)), key=step_of)


def latest(run_dir: Path) -> Path | None:
    """Return the checkpoint that the pointer names, else the newest complete one; None if there is none.

    That is the one committed last. It is not verified.
    """
    try:
        name = (folder(run_dir) / POINTER).read_text().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if _NAME.fullmatch(name) and (folder(run_dir) / name).is_dir():
        return folder(run_dir) / name
    return next(reversed(complete(run_dir)), None)


def newest_good(run_dir: Path, content: bool = True) -> Newest:
    """Return the newest checkpoint that passes `verify`; with content=False its contents are not read.

    Raises Unreadable if a newer one cannot be read now: it may be the better one.
    """
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
    """Raise Damaged if the checkpoint is not what was committed or holds anything foreign.

    Raises Unreadable if it cannot be read now. content: read all files, compare their checksums and look into the
    tensors' pickles; else check only names, sizes and the index.
    """
    _check_link(path)
    manifest = checkpoint_manifest.read(path)
    checkpoint_manifest.check_sizes(path, manifest)
    if content:
        checkpoint_manifest.check_content(path, manifest)
    pieces = check_index(path)
    check_listed(pieces, set(manifest.files), set(files.names(path)), {INDEX, INFO, COMMON, FORMAT})
    if content:
        check_tensors(path, pieces)
    if read_info(path).step != step_of(path):
        raise Damaged(f"{INFO}: of step {read_info(path).step}")


def _check_link(path: Path) -> None:
    """Raise Unreadable if the checkpoint is a link that leads nowhere: an archive may not be mounted now."""
    try:
        files.patiently(path.stat, path)
    except files.ABSENT:
        if path.is_symlink():
            raise files.Unreadable(
                path,
                f"nothing is at {os.readlink(path)}, where the link leads",
                do="mount what the link leads to, or remove the link",
            ) from None


def read_info(path: Path) -> CheckpointInfo:
    """Return a checkpoint's description.

    Raises Damaged if the file is missing or not what this version writes; Unreadable if it cannot be read now.
    """
    content = checkpoint_manifest.look(path / INFO, (path / INFO).read_bytes)
    try:
        return CheckpointInfo.model_validate_json(content)
    except ValidationError as error:
        raise Damaged(f"{INFO}: {first_problem(error)}") from None


def check_fits(info: CheckpointInfo, config: RunConfig, path: Path) -> None:
    """Raise UserError unless the run can continue from the checkpoint at `path`.

    Any layout may continue any checkpoint; shape, precision and optimizer must be the same, and its step must not be
    beyond the run's end.
    """
    now = models.shape(config)
    for name in sorted(now.keys() | info.shape.keys()):
        if now.get(name) != info.shape.get(name):
            raise UserError(
                f"model.{name}",
                f"differs from {info.shape.get(name)} in checkpoint {path}",
                value=now.get(name),
                do="set it back, or choose another run.dir",
            )
    if info.precision != config.training.precision:
        raise UserError(
            "training.precision",
            f"differs from {info.precision} in checkpoint {path}",
            value=config.training.precision,
            do="set it back, or choose another run.dir",
        )
    if info.imported is None and info.optimizer != config.optimizer.name:
        raise UserError(
            "optimizer.name",
            f"differs from {info.optimizer}, whose states are in checkpoint {path}",
            value=config.optimizer.name,
            do="set it back, or choose another run.dir",
        )
    if info.step > config.training.steps:
        name, asked = budget.given(config)
        raise UserError(
            f"training.{name}",
            f"is below step {info.step} of checkpoint {path}"
            if name == "steps"
            else f"takes {config.training.steps} steps, fewer than the {info.step} of checkpoint {path}",
            value=asked,
            use=f"at least {info.step * budget.per_step(config)}",
        )


def begin(run_dir: Path, step: int) -> Path:
    """Create and return a fresh temporary folder for the checkpoint of `step`."""
    root = folder(run_dir)
    files.make_folder(root)
    for attempt in itertools.count():
        path = root / f".step-{step:08d}{f'.{attempt}' if attempt else ''}.tmp"
        files.remove(path)
        if not os.path.lexists(path):  # else a file is in the way that cannot be removed
            path.mkdir()
            return path
    raise AssertionError


def commit(
    temporary: Path, info: CheckpointInfo, warn: Warn, known: Mapping[str, Entry] | None = None
) -> Path:
    """Complete the checkpoint in a temporary folder and return its final folder.

    Describes the checkpoint, lists its files, flushes everything, gives the folder its name and moves the pointer.
    known: manifest entries of files that need not be read again. warn: called if the pointer cannot be moved; the
    checkpoint is as good without it.
    """
    (temporary / INFO).write_text(json.dumps(info.model_dump(mode="json"), indent=2) + "\n")
    manifest = checkpoint_manifest.make(temporary, known)
    (temporary / checkpoint_manifest.FILE).write_text(manifest.text())
    for path in [*temporary.iterdir(), temporary]:
        files.flush(path)
    final = temporary.with_name(f"step-{info.step:08d}")
    if os.path.lexists(final):  # the same step again, after a continuation from an older checkpoint
        set_aside(final)
    temporary.rename(final)
    files.flush(final.parent)
    try:
        files.write_whole(final.with_name(POINTER), final.name + "\n")
    except OSError as error:
        warn(f"{final.with_name(POINTER)} still names an older checkpoint: {files.reason(error)}")
    return final


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that must not be used again, so that nothing mistakes it for one; return its new path.

    Nothing is removed.
    """
    number, aside = 1, path.with_name(f"{path.name}.aside")
    while os.path.lexists(aside):
        number, aside = number + 1, path.with_name(f"{path.name}.aside-{number + 1}")
    path.rename(aside)
    return aside
