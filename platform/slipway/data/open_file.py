"""A prepared file that is read at any place during the whole run.

It is read with pread and never mapped into memory: if a mapped file is truncated, the process is ended with SIGBUS.
"""

import os
from pathlib import Path

from slipway.data.files import ADVICE, DataChanged, describe


class OpenFile:
    """An open file that must not change. Threads may share it: reads have their own positions."""

    def __init__(self, path: Path, size: int) -> None:
        """Open a file that must have `size` bytes.

        Raises DataChanged if it has another size, OSError if it cannot be opened.
        """
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.opened = size, os.fstat(self.descriptor).st_mtime_ns
        self._check()

    def read_bytes(self, offset: int, size: int) -> bytearray:
        """Return `size` bytes from `offset` on. Raises DataChanged if the file has changed since it was opened."""
        data = bytearray()
        try:
            while missing := size - len(data):
                piece = os.pread(self.descriptor, missing, offset + len(data))
                if not piece:
                    break  # the file has become shorter
                data += piece
            self._check()  # after the read: what was read is from before a change
        except OSError as error:
            raise DataChanged(self.path, f"can no longer be read: {error.strerror}", do=ADVICE) from error
        assert len(data) == size, (self.path, offset, size)
        return data

    def _check(self) -> None:
        found = os.fstat(self.descriptor)
        if (now := (found.st_size, found.st_mtime_ns)) != self.opened:
            raise DataChanged(
                self.path,
                f"changed during training: {describe(*now)}, was {describe(*self.opened)}",
                do=ADVICE,
            )

    def close(self) -> None:
        """Close the file; nothing can be read after this."""
        os.close(self.descriptor)
