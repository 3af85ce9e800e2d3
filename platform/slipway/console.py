"""Standard output and standard error that survive a reader who goes away.

Either one may be closed, full, a broken pipe, a terminal that is gone, a pipe that nobody reads, or in an encoding
that lacks a letter. `take_over` puts streams in their place that handle all this. Standard error, and standard output
of a command that does something (`for_people`), never end what is being done: what cannot be written is dropped. If
the output is what was asked for, a failure is an error, as with any file, under the name OUTPUT.
"""

import errno
import io
import os
import select
import sys
from typing import Any

OUTPUT = "standard output"
READER_SECONDS = 1.0  # for a reader who has stopped reading, before lines are dropped
_PIECE = 4096  # bytes; a pipe that is writable takes as many at once (PIPE_BUF)


class Stream(io.RawIOBase):
    """A descriptor that may be unusable. dropping: what cannot be written there is dropped, and nothing waits."""

    def __init__(self, descriptor: int, name: str, dropping: bool, closed: bool) -> None:
        self._descriptor, self._name, self._was_closed = descriptor, name, closed
        self.dropping, self._stuck = dropping, False

    def fileno(self) -> int:  # noqa: D102
        return self._descriptor

    def isatty(self) -> bool:  # noqa: D102
        return os.isatty(self._descriptor)

    def writable(self) -> bool:  # noqa: D102
        return True

    def write(self, data: Any) -> int:
        """Write as any raw stream does, and return the number of bytes taken. Never fails if it drops.

        Raises OSError, under the stream's name, if it does not drop and the descriptor cannot be written.
        """
        piece = bytes(data[:_PIECE])
        try:
            if self._was_closed:
                raise OSError(errno.EBADF, "it is closed")
            if not self._wait():
                return len(piece)
            return os.write(self._descriptor, piece)
        except BlockingIOError:  # somebody else has set it to non-blocking
            return 0 if not self.dropping and self._wait(again=True) else len(piece)
        except OSError as error:
            if self.dropping:
                return len(piece)
            raise OSError(error.errno, error.strerror, self._name) from None

    def _wait(self, again: bool = False) -> bool:
        """Return whether the descriptor can be written. Wait for that, but not for long if lines may be dropped."""
        if not self.dropping and not again:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        limit = None if not self.dropping else 0 if self._stuck else 1000 * READER_SECONDS
        self._stuck = not poll.poll(limit)
        return not self._stuck


def take_over() -> None:
    """Replace the interpreter's own streams by ones that survive. Files never get the numbers of closed streams."""
    closed = _open_all()
    sys.stdout = _text(sys.__stdout__, Stream(1, OUTPUT, dropping=False, closed=1 in closed), "replace")
    sys.stderr = _text(
        sys.__stderr__, Stream(2, "standard error", dropping=True, closed=2 in closed), "backslashreplace"
    )


def for_people() -> None:
    """Ensure that nothing printed from now on can end this process, or hold it up."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Stream):
        raw.dropping = True


def write(text: str) -> None:
    """Print what programs read: in UTF-8, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()


def _open_all() -> set[int]:
    """Open /dev/null in place of standard input, output and error that are closed. Return their numbers."""
    closed = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            found = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            assert found == descriptor, f"{os.devnull} was opened as {found}"
            os.set_inheritable(found, True)
    return closed


def _text(before: Any, raw: Stream, errors: str) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    lines = raw.isatty() or raw.dropping
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=lines, newline="\n"
    )
