"""Progress of an evaluation: a line every few seconds, on stderr."""

import sys
import time

_LINE_EVERY = 5.0  # seconds


class Progress:
    """The progress of one measurement on one step."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.step, self.shown = title, step, time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        """Print how many of `of` are done, unless a line was printed in the last seconds."""
        if time.monotonic() - self.shown >= _LINE_EVERY:
            self.shown = time.monotonic()
            print(f"step {self.step:,}, {self.title}: {done:,} of {of:,} {what}", file=sys.stderr, flush=True)
