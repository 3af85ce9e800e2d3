"""The checkpoints of a run that are evaluated, and the results that exist already."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.checkpoint import manifest, store
from slipway.checkpoint.manifest import Damaged
from slipway.errors import UserError
from slipway.models.evaluation import Result


def chosen(run_dir: Path, steps: Sequence[int] | None, every: bool) -> list[Path]:
    """Return the paths of the checkpoints to evaluate, oldest first: the newest, those of `steps`, or every one.

    They are not verified here. Raises UserError if there is no checkpoint, if `every` and `steps` are both given, or if
    a step has no checkpoint.
    """
    there = store.complete(run_dir)
    if not there and not steps:
        raise UserError(
            "run.dir",
            f"has no checkpoint in {store.folder(run_dir)}",
            value=run_dir,
            do="name a run that has saved one",
        )
    if every and steps:
        raise UserError(
            "evaluate --every-checkpoint", "asks for all steps, but --step for some", do="give one of them"
        )
    if every:
        return there
    if not steps:
        return there[-1:]
    by_step = {store.step_of(path): path for path in there}
    for step in steps:
        if step not in by_step:
            have = ", ".join(map(str, by_step)) or "none"
            raise UserError(
                "evaluate --step",
                f"is not in {store.folder(run_dir)}, which holds {have}",
                value=step,
                do="choose one of those steps",
            )
    return [by_step[step] for step in sorted(set(steps))]


def verify(checkpoint: Path) -> None:
    """Raise UserError if a checkpoint is damaged."""
    try:
        store.verify(checkpoint)
    except Damaged as error:
        raise UserError(
            f"checkpoint {checkpoint}", f"is damaged: {error}", use="another one with --step N"
        ) from None


def identity(checkpoint: Path) -> str:
    """Return the checksum of a checkpoint's manifest, which tells it from another checkpoint of the same step.

    Raises UserError if the manifest cannot be read.
    """
    try:
        return hashlib.sha256((checkpoint / manifest.FILE).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"checkpoint {checkpoint}",
            f"cannot be read: {error.strerror}",
            do="make it readable, or choose another --step",
        ) from None


def known(
    results: Sequence[Result], settings: Mapping[str, Any], step: int, checkpoint: str
) -> Result | None:
    """Return the existing result with the same settings, step and checkpoint; None if there is none."""
    same = (settings, step, checkpoint)
    return next((one for one in results if (one.settings, one.step, one.checkpoint) == same), None)
