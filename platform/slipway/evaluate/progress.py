"""How far an evaluation is: a line now and then, on stderr."""

import sys
import time

_LINE_EVERY = 5.0  # seconds


class Progress:
    """Tells of one measurement of one step."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.step, self.shown = title, step, time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        """So many of what is counted are done."""
        if time.monotonic() - self.shown >= _LINE_EVERY:
            self.shown = time.monotonic()
            print(f"step {self.step:,}, {self.title}: {done:,} of {of:,} {what}", file=sys.stderr, flush=True)
