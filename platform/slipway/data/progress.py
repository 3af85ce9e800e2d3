"""Progress of a preparation: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from slipway.words import quantity, size

_LINE_EVERY = 15.0  # seconds, where there is no terminal
_DRAW_EVERY = 0.1


class Progress:
    """Progress that is not shown."""

    def phase(self, name: str) -> None:
        """Begin a phase with this name."""

    def advance(self, disk_bytes: int, counts: Mapping[str, int], fresh: bool) -> None:
        """Count a block as done. fresh: it was done now, not by an earlier, interrupted call.

        disk_bytes: of the inputs. counts: how much the block holds of each thing that is counted.
        """


class _Measured(Progress):
    def __init__(self, total_bytes: int, counted: Sequence[str]) -> None:
        self.total = total_bytes
        self.done = self.fresh = 0
        self.counts = dict.fromkeys(counted, 0)
        self.measured = counted[-1]
        self.phases: list[tuple[str, float]] = []
        self.seconds = 0.0  # from the phase's beginning to the latest block

    def phase(self, name: str) -> None:
        self.phases.append((name, time.monotonic()))
        self.show()

    def advance(self, disk_bytes: int, counts: Mapping[str, int], fresh: bool) -> None:
        self.seconds = time.monotonic() - self.phases[-1][1]
        self.done += disk_bytes
        for name in self.counts:
            self.counts[name] += counts[name]
        self.fresh += counts[self.measured] if fresh else 0
        self.show()

    def rate(self) -> float:
        """Return how many of the measured things are done per second, without those of earlier calls."""
        return self.fresh / self.seconds if self.seconds else 0.0

    def numbers(self) -> str:
        rate = [f"{self.rate():,.0f} {self.measured}/s"] if self.rate() else []
        counts = [f"{count:,} {name}" for name, count in self.counts.items()]
        return ", ".join([f"{size(self.done)} of {size(self.total)}", *counts, *rate])

    def show(self) -> None:
        raise NotImplementedError


class _Lines(_Measured):
    """A line every 15 s and one at the end, so that an error of the inputs is mostly the only line."""

    def __init__(self, total_bytes: int, counted: Sequence[str]) -> None:
        super().__init__(total_bytes, counted)
        self.shown = time.monotonic()

    def show(self) -> None:
        if time.monotonic() - self.shown >= _LINE_EVERY:
            self.shown = time.monotonic()
            self.say(f"{self.phases[-1][0]}: {self.numbers()}")

    def finish(self) -> None:
        now = time.monotonic()
        ends = [begun for _, begun in self.phases[1:]] + [now]
        spent = [f"{name} {end - begun:.1f} s" for (name, begun), end in zip(self.phases, ends, strict=True)]
        self.say(f"{self.numbers()}; {', '.join(spent)}")

    def say(self, text: str) -> None:
        print(f"data: {text}", file=sys.stderr, flush=True)


class _Bar(_Measured):
    def __init__(self, total_bytes: int, counted: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(total_bytes, counted)
        # No refreshing thread: this process forks workers.
        self.bar = RichProgress(
            TextColumn("data: {task.description}"),
            BarColumn(20),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self.task = self.bar.add_task("", total=total_bytes, numbers="")
        self.drawn = 0.0

    def phase(self, name: str) -> None:
        self.drawn = 0.0
        super().phase(name)

    def short(self) -> str:
        counts = [f"{quantity(self.counts[name])} {name}" for name in self.counts if name != self.measured]
        return " ".join([size(self.done), *counts, f"{quantity(self.rate())} {self.measured}/s"])

    def show(self) -> None:
        if time.monotonic() - self.drawn >= _DRAW_EVERY or self.done >= self.total:
            self.drawn = time.monotonic()
            name = self.phases[-1][0]
            self.bar.update(self.task, description=name, completed=self.done, numbers=self.short())
            self.bar.refresh()


@contextmanager
def show_progress(wanted: bool, total_bytes: int, counted: Sequence[str]) -> Iterator[Progress]:
    """Yield the progress over inputs of `total_bytes` on disk, shown on stderr if that is wanted.

    counted: plural names of what the inputs become, such as documents and tokens; the rate is that of the last one.
    """
    if not wanted:
        yield Progress()
    elif not sys.stderr.isatty():
        shown = _Lines(total_bytes, counted)
        yield shown
        shown.finish()
    else:
        shown = _Bar(total_bytes, counted)
        with shown.bar:
            yield shown
