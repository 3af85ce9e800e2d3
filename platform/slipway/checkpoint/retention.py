"""Removes old checkpoints when a new one is committed, and what an interrupted save or removal has left.

All of it comes after a commit or before a save, and only tidies up: what cannot be removed is a warning, never the end
of a run. Imports no torch.
"""

from collections.abc import Mapping
from pathlib import Path

from slipway import files
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.checkpoint.store import Warn
from slipway.config.schema import Checkpoint


def tidy(run_dir: Path, warn: Warn) -> None:
    """Remove what interrupted saves and removals have left; warn of what cannot be removed."""
    root = store.folder(run_dir)
    try:
        stale = [name for name in files.names(root) if name.startswith(".") and name.endswith(".tmp")]
    except files.Unreadable as error:
        warn(str(error))
        return
    for name in stale:
        if problem := files.remove(root / name):
            warn(f"{root / name} cannot be removed ({problem})")


def retain(newest: Path, settings: Checkpoint, warn: Warn, best_is_lowest: bool = True) -> list[Path]:
    """Remove the checkpoints that are not to be kept now that `newest` is committed; return the removed ones.

    Only good checkpoints up to `newest` count, and only they are removed: one that is damaged, cannot be read, or is of
    a later step is left as it is. best_is_lowest: the best checkpoint has the lowest validation loss.
    """
    if settings.keep_last is None:
        return []
    good, losses = [], {}
    for path in store.complete(newest.parent.parent):
        if store.step_of(path) > store.step_of(newest):
            continue
        try:
            store.verify(path, content=False)
            loss = store.read_info(path).validation_loss
        except Damaged:
            continue
        except files.Unreadable as error:
            warn(f"{path} is kept: {error}")
            continue
        good.append(path)
        if loss is not None:
            losses[store.step_of(path)] = loss
    kept = to_keep([store.step_of(path) for path in good], settings, losses, best_is_lowest)
    removed = []
    for path in good:
        if store.step_of(path) in kept:
            continue
        if problem := _remove(path):
            warn(f"{path} is no longer needed and cannot be removed ({problem})")
        else:
            removed.append(path)
    return removed


def to_keep(
    steps: list[int], settings: Checkpoint, losses: Mapping[int, float], best_is_lowest: bool = True
) -> set[int]:
    """Return the steps that keep_last, keep_every and keep_best keep.

    losses: validation losses by step. best_is_lowest: the lowest is the best.
    """
    if settings.keep_last is None:
        return set(steps)
    always = {s for s in steps if settings.keep_every and s % settings.keep_every == 0}
    sign = 1 if best_is_lowest else -1
    ranked = sorted((s for s in steps if s in losses), key=lambda s: (sign * losses[s], s))
    return always | set(ranked[: settings.keep_best]) | set(sorted(steps)[-settings.keep_last :])


def _remove(path: Path) -> str | None:
    """Remove a checkpoint, after renaming it, so that half of one is never taken for a checkpoint.

    Returns why it could not be removed, or None. If it is a link, as to an archive, only the link goes.
    """
    doomed = path.with_name(f".{path.name}.removed.tmp")
    if problem := files.remove(doomed):
        return problem
    try:
        path.rename(doomed)
    except OSError as error:
        return files.reason(error)
    return files.remove(doomed)
