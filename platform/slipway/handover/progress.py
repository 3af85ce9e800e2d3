"""How far a handover is: a line now and then, on stderr."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_LINE_EVERY = 5.0  # seconds

T = TypeVar("T")


class Progress:
    """Counts so many tensors."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.shown = what, total, 0, time.monotonic()

    def of(self, tensors: Iterable[T]) -> Iterator[T]:
        """Yield the tensors, counted as they pass."""
        for one in tensors:
            yield one
            del one  # before the next is made: it may be large
            self.advance()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if time.monotonic() - self.shown >= _LINE_EVERY:
            self.shown = time.monotonic()
            print(f"{self.what}: {self.done:,} of {self.total:,} tensors", file=sys.stderr, flush=True)
