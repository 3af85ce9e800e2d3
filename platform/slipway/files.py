"""The one way in which the lasting files of a run are written, read and removed.

docs/runs.md lists the files of a run directory with their class (truth, derived, scratch) and their durability. A
file that is read is one of four things, which are never mixed up: there, absent, damaged (the caller sees it from the
content), or unreadable, which is an error that says nothing about the content.
"""

import contextlib
import errno
import io
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from slipway.errors import Fault

ABSENT = (FileNotFoundError, NotADirectoryError)
PASSING = {
    getattr(errno, name)
    for name in (
        *("EAGAIN", "EBUSY", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOMEM"),
        *("EREMOTEIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "ENOTCONN", "EHOSTUNREACH"),
    )
    if hasattr(errno, name)
}
"""Errors of a file system that may pass in a moment."""
PAUSES = (0.1, 0.4)  # seconds between attempts at reading
NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # for a folder, on a file system without it
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")

T = TypeVar("T")


class Unreadable(Fault):
    """A file that may well be intact cannot be read now: nothing may be concluded, nothing removed."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            path,
            f"cannot be read: {why}; nothing was changed",
            do="make it readable, or run the same command again once the file system works",
        )


def reason(error: OSError) -> str:
    """Return the system's message for an error, or the error's own text if Python made it."""
    return error.strerror or str(error) or type(error).__name__


# --- reading


def patiently(call: Callable[[], T], path: Path) -> T:
    """Return call(), which reads `path`; call it again after an error that may pass.

    Raises one of ABSENT, or Unreadable.
    """
    for pause in (*PAUSES, None):
        try:
            return call()
        except ABSENT:
            raise
        except OSError as error:
            if pause is None or error.errno not in PASSING:
                raise Unreadable(path, reason(error)) from error
            time.sleep(pause)
    raise AssertionError


def read(path: Path) -> bytes | None:
    """Return the content of a file; None if it does not exist. Raises Unreadable."""
    try:
        return patiently(lambda: _content(path), path)
    except ABSENT:
        return None


def opened(path: Path) -> BinaryIO:
    """Return a file, open for reading. Raises OSError, also for a pipe or a device: reading one may never end."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EEXIST, "it is a pipe or a device, not a file", str(path))


def _content(path: Path) -> bytes:
    with opened(path) as file:
        return file.read()


def names(folder: Path) -> list[str]:
    """Return the names of everything in a folder, sorted; empty if it does not exist. Raises Unreadable."""
    try:
        return sorted(patiently(lambda: os.listdir(folder), folder))
    except ABSENT:
        return []


class Slice(io.RawIOBase):
    """A stretch of a file that can be read as a file."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self._file, self._offset, self._length, self._at = file, offset, length, 0

    def readable(self) -> bool:
        """Return True: the stretch can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: any position in it can be reached."""
        return True

    def tell(self) -> int:
        """Return the position within the stretch."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position, at the earliest the beginning of the stretch. Return it."""
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, at most to the end of the stretch. Return the number of bytes."""
        length = max(0, min(len(buffer), self._length - self._at))
        self._file.seek(self._offset + self._at)
        found = self._file.read(length)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


# --- writing


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it replaces `path` at the end, and is removed after an error.

    Both the content and the name are on disk when this ends.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        flush(beside)
        os.replace(beside, path)
        flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, even if the machine fails."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Create a folder and those above it if they are missing; their names are on disk when this returns."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


def nearest_existing(path: Path) -> Path:
    """Return the path, or the closest folder above it, that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def flush(path: Path) -> None:
    """Flush a file's content, or a folder's names, to the disk. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # a folder that may be entered and not listed
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FSYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


class Appended:
    """A file that grows by lines: a line is with the system when `write` returns, and on disk when `flush` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        there = path.exists()
        self._file = path.open("ab", buffering=0)
        if not there:
            flush(path.parent)
        elif _is_torn(path):
            self.write("")  # so that the next line begins anew

    def write(self, line: str) -> None:
        """Append a line, given without its newline. Raises OSError, which names the file."""
        left = memoryview(line.encode() + b"\n")
        while left:
            left = left[self._naming(lambda left=left: self._file.write(left)) or 0 :]

    def flush(self) -> None:
        """Flush all lines to the disk; any thread may call it. Raises OSError, which names the file."""
        self._naming(lambda: os.fsync(self._file.fileno()))

    def close(self) -> None:
        """Close the file; does not flush."""
        self._file.close()

    def _naming(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as error:  # it knows the descriptor, not the file
            raise OSError(error.errno, reason(error), str(self.path)) from error


def _is_torn(path: Path) -> bool:
    """Return whether the last line of a file has no newline."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def append(path: Path, line: str) -> None:
    """Append a line, given without its newline, to a file that several processes may write.

    The line is on disk when this returns.
    """
    log = Appended(path)
    try:
        log.write(line)
        log.flush()
    finally:
        log.close()


# --- removing


def remove(path: Path) -> str | None:
    """Remove a file, a folder with everything in it, or a link (its target stays).

    Return why not; None if it is gone.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except ABSENT:
        return None
    except OSError as error:
        return f"{error.filename or path}: {reason(error)}"
    return None


def sweep(folder: Path, owned: Callable[[str], bool]) -> None:
    """Remove what interrupted `whole`s have left in a folder. owned: tells the names that only the caller writes."""
    with contextlib.suppress(Unreadable):
        for name in names(folder):
            match = _TEMPORARY.fullmatch(name)
            if match and owned(match[1]):
                remove(folder / name)
