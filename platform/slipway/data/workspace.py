"""DIR/work, where a preparation stores its finished parts until all are done; for one process at a time."""

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.errors import UserError
from slipway.files import write_whole

NAME = "work"
_JOB = "job.json"


@contextmanager
def workspace(folder: Path, job: dict[str, object]) -> Iterator[Path]:
    """Yield DIR/work with what an interrupted preparation of the same job has left there.

    job: all that decides what is written, as JSON; work of another job is removed. After a UserError nothing is left;
    after any other end finished parts stay. Raises Busy if another process holds the folder.
    """
    created = _make(folder / NAME)
    work = folder / NAME
    try:
        with open(work / "lock", "w", encoding="utf-8") as lock:
            _lock(lock.fileno())
            _begin(work, job)
            yield work
    except UserError:
        shutil.rmtree(work, ignore_errors=True)
        _remove_empty(created)
        raise


def remove(work: Path) -> None:
    """Remove the work of a preparation that has finished."""
    shutil.rmtree(work, ignore_errors=True)


def _make(work: Path) -> list[Path]:
    """Make a folder and return the folders that did not exist, outermost first."""
    missing = [path for path in reversed([work, *work.parents]) if not path.exists()]
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "data.dir",
            f"cannot be written: {error.strerror}",
            value=work.parent,
            do="choose a data.dir that you can write to",
        ) from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return  # not empty: someone else's by now


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK):
            return  # a file system without locks
        raise Busy from error


class Busy(Exception):
    """Another process holds the workspace."""


def _begin(work: Path, job: dict[str, object]) -> None:
    text = json.dumps(job, sort_keys=True)
    path = work / _JOB
    if path.exists() and path.read_text() == text:
        return
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()
    write_whole(path, text)
