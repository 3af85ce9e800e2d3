"""What people see while data is prepared: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.data.shards import Counts

_LINE_EVERY = 15.0  # seconds, where there is no terminal
_DRAW_EVERY = 0.1


class Progress:
    """Says nothing."""

    def phase(self, name: str) -> None:
        """A new phase begins."""

    def advance(self, disk_bytes: int, counts: "Counts", fresh: bool) -> None:
        """A block is done; fresh: now, not by an earlier, interrupted call."""


class _Measured(Progress):
    def __init__(self, total_bytes: int) -> None:
        self.total = total_bytes
        self.done = self.documents = self.tokens = self.fresh_tokens = 0
        self.begun: float | None = None

    def advance(self, disk_bytes: int, counts: "Counts", fresh: bool) -> None:
        self.begun = self.begun or time.monotonic()
        self.done += disk_bytes
        self.documents += counts.documents
        self.tokens += counts.tokens
        self.fresh_tokens += counts.tokens if fresh else 0
        self.show()

    def rate(self) -> float:
        """Tokens per second since the first block came in."""
        spent = time.monotonic() - self.begun if self.begun else 0.0
        return self.fresh_tokens / spent if spent > 0.05 else 0.0

    def numbers(self) -> str:
        rate = f", {_count(self.rate())} tokens/s" if self.rate() else ""
        return (
            f"{_count(self.done)}B of {_count(self.total)}B, {_count(self.documents)} documents, "
            f"{_count(self.tokens)} tokens{rate}"
        )

    def show(self) -> None:
        raise NotImplementedError


class _Lines(_Measured):
    def __init__(self, total_bytes: int) -> None:
        super().__init__(total_bytes)
        self.shown = self.phase_begun = time.monotonic()
        self.phase_name = ""

    def phase(self, name: str) -> None:
        # Told when it is over: what is wrong with the inputs is then the only line.
        now = time.monotonic()
        if self.phase_name:
            print(f"data: {self.phase_name}: {now - self.phase_begun:.1f} s", file=sys.stderr, flush=True)
        self.phase_name, self.phase_begun = name, now

    def show(self) -> None:
        if time.monotonic() - self.shown >= _LINE_EVERY or self.done >= self.total:
            self.shown = time.monotonic()
            print(f"data: {self.numbers()}", file=sys.stderr, flush=True)


class _Bar(_Measured):
    def __init__(self, total_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(total_bytes)
        # No refreshing thread: this process forks workers.
        self.bar = RichProgress(
            TextColumn("data: {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self.task = self.bar.add_task("", total=total_bytes, numbers="")
        self.drawn = 0.0

    def phase(self, name: str) -> None:
        self.bar.update(self.task, description=name)
        self.bar.refresh()

    def show(self) -> None:
        if time.monotonic() - self.drawn >= _DRAW_EVERY or self.done >= self.total:
            self.drawn = time.monotonic()
            self.bar.update(self.task, completed=self.done, numbers=self.numbers())
            self.bar.refresh()


@contextmanager
def show_progress(wanted: bool, total_bytes: int) -> Iterator[Progress]:
    """Progress over inputs of `total_bytes` on disk, on stderr."""
    if not wanted:
        yield Progress()
    elif not sys.stderr.isatty():
        yield _Lines(total_bytes)
    else:
        shown = _Bar(total_bytes)
        with shown.bar:
            yield shown


def _count(number: float) -> str:
    """1234567 as 1.23 M."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {letter}"
    return f"{number:.0f} "
