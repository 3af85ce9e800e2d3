"""Errors of the operating system in one line: which file, the system's message, and what to do about it."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from slipway.errors import Fault
from slipway.files import reason

_ROOM = "free some space there, then run the same command again"
_RIGHTS = "ask its owner for permission, or choose another place"
_KIND = "move it out of the way, or choose another place"
# Errors that the user can mend, and how.
ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or choose another file system",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "choose a place you can write to",
    errno.ENOENT: "check that its directory exists and is mounted",
    errno.ENOTDIR: _KIND,
    errno.EISDIR: _KIND,
    errno.EEXIST: _KIND,
    errno.ENOTEMPTY: _KIND,
    errno.ELOOP: "check where its symbolic links lead",
    errno.ENAMETOOLONG: "choose shorter names: most file systems take 255 bytes for each and 4,095 for a whole path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EBADF: "leave it open, or send it to a file",
}
_OTHERWISE = "check that file system or machine, then run the same command again"


def explained(error: OSError) -> Fault:
    """Return a Fault that names the file, the system's message, and what to do."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = " -> ".join(names) or _folder_gone() or in_hand(error) or "the operating system"
    return Fault(where, reason(error), do=ADVICE.get(error.errno or 0, _OTHERWISE))


def _folder_gone() -> str | None:
    """Return words for the current folder if it was removed, because then the system names nothing; else None."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the current folder"
    return None


def is_users(error: OSError) -> bool:
    """Return whether the user can mend an error, as far as its number tells."""
    return error.errno in ADVICE


@contextmanager
def begun() -> Iterator[None]:
    """Turn an error of the system within into a Fault of what was begun: it is not a user's mistake."""
    try:
        yield
    except OSError as error:
        raise explained(error) from error


def behind(error: BaseException) -> OSError | None:
    """Return the operating system's error behind a failed save: the error itself, a cause of it, or one from a rank.

    None if there is no such error.
    """
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


def in_hand(error: BaseException) -> str | None:
    """Return the file that the code was working on when a call failed that names none; None if unknown.

    Such calls read, write, flush or close.
    """
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        here = list(frame.f_locals.values())
        own = frame.f_locals.get("self")
        held = [*here, *vars(own).values()] if hasattr(own, "__dict__") else here
        for kind in (io.IOBase, Path):
            for value in held:
                if isinstance(value, kind) and (name := _name(value)):
                    return name
    return None


def _name(value: Any) -> str | None:
    if isinstance(value, Path):
        return str(value)
    name = getattr(value, "name", None)
    return os.fsdecode(name) if isinstance(name, str | bytes) and name[:1] not in ("<", b"<") else None
