"""Progress of an export or import: a line every few seconds, on stderr."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_LINE_EVERY = 5.0  # seconds

T = TypeVar("T")


class Progress:
    """A count of tensors that are done, of `total`."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.shown = what, total, 0, time.monotonic()

    def of(self, tensors: Iterable[T]) -> Iterator[T]:
        """Yield the tensors and count each one when the caller has dealt with it."""
        for one in tensors:
            yield one
            del one  # before the next is made: it may be large
            self.advance()

    def advance(self) -> None:
        """Count one more tensor, and print a line unless one was printed in the last seconds."""
        self.done += 1
        if time.monotonic() - self.shown >= _LINE_EVERY:
            self.shown = time.monotonic()
            print(f"{self.what}: {self.done:,} of {self.total:,} tensors", file=sys.stderr, flush=True)
