"""Files that are read at random during the whole run, opened when first read and kept open as the limit allows."""

import os
import resource
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from slipway.data.files import ADVICE, DataChanged

_RESERVE = 512
"""Descriptors that are left for other uses: sockets, logs, checkpoints."""


class OpenFiles:
    """Shards by number. Threads share it: reads have their own positions, and no state."""

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        """Take the files' paths and the sizes in bytes that they must have; nothing is opened yet."""
        self.paths, self.sizes = paths, sizes
        self._open = lru_cache(max(16, _room(len(paths))))(self._opened)

    def read_into(self, number: int, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with bytes from `offset` on. Raises DataChanged if there are fewer, or they cannot be read."""
        try:
            file = self._open(number)
            while len(buffer):
                count = os.preadv(file.descriptor, [buffer], offset)
                if not count:
                    raise DataChanged(
                        self.paths[number], "is shorter than it was when training began", do=ADVICE
                    )
                buffer, offset = buffer[count:], offset + count
        except OSError as error:
            raise DataChanged(
                self.paths[number], f"can no longer be read: {error.strerror}", do=ADVICE
            ) from error

    def close(self) -> None:
        """Close all files that no thread is reading."""
        self._open.cache_clear()

    def _opened(self, number: int) -> "_File":
        file = _File(self.paths[number])
        size = os.fstat(file.descriptor).st_size
        if size != self.sizes[number]:
            raise DataChanged(
                self.paths[number],
                f"has {size} bytes, but had {self.sizes[number]} when it was checked",
                do=ADVICE,
            )
        return file


class _File:
    """A descriptor that is closed with the last reference to it, so that none is closed while a thread reads."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _room(wanted: int) -> int:
    """Return how many of `wanted` files can be kept open; raise this process's soft limit if it is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        return raised - _RESERVE
    return wanted
