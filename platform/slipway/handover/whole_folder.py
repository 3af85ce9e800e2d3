"""Folders that are complete if they exist: written beside their place, and renamed at the end."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from slipway import files


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` to write to; rename it to `path` at the end, or remove it after an error.

    What killed processes of this machine have left there is removed first. All files and names are on disk when this
    ends.
    """
    path = path.absolute()
    files.make_folder(path.parent)
    _sweep(path)
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    files.remove(beside)
    beside.mkdir()
    try:
        yield beside
        for one in [*beside.iterdir(), beside]:
            files.flush(one)
        beside.rename(path)
        files.flush(path.parent)
    finally:
        files.remove(beside)


def _sweep(path: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(.+)\.(\d+)\.tmp")
    for name in files.names(path.parent):
        match = pattern.fullmatch(name)
        if match and match[1] == socket.gethostname() and not _lives(int(match[2])):
            files.remove(path.with_name(name))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
