"""A folder that is there is whole: it is written beside its place and gets its name at the end."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from slipway import files


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write to, which takes its place at the end, and is removed after an error.

    What processes of this machine that were killed have left there is removed first. All files and names are on disk
    when this ends.
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
