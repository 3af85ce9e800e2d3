"""POSIX record locks on a file: they end with their process, however it ends, and forked children hold none.

They work over NFSv4, and over Lustre and GPFS if mounted with locks shared between nodes. The kernel drops a
process's lock as soon as the process closes *any* descriptor of the file: a process that holds a lock must not open
that file a second time, not even to look.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Literal

from slipway import files

FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid

_held: set[tuple[int, int]] = set()  # device and inode of the files that this process holds


def take(path: Path) -> tuple[int, Literal["taken", "held", "unsupported"]]:
    """Open a file, create it if needed, and lock it. Return its descriptor (-1 if it is held), and what came of it."""
    if _identity(path) in _held:
        return -1, "held"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        return -1, "held"
    except OSError:  # ENOSYS, ENOLCK, EOPNOTSUPP: as file systems without locks answer
        return descriptor, "unsupported"
    status = os.fstat(descriptor)
    _held.add((status.st_dev, status.st_ino))
    return descriptor, "taken"


def release(descriptor: int) -> None:
    """Release a lock and close the descriptor that `take` returned."""
    status = os.fstat(descriptor)
    _held.discard((status.st_dev, status.st_ino))
    os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether any process that this kernel and file system know of holds the lock. Takes and writes nothing.

    Raises Unreadable if that cannot be told.
    """
    if _identity(path) in _held:
        return True
    try:
        descriptor = files.patiently(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
    except files.ABSENT:
        return False
    try:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        return struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
