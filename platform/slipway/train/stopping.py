"""When a segment ends before its run does: a signal to any rank, or the wall time. Imports no torch.

Each rank notes what it has seen; the flags travel with the step's loss reduction, so that all ranks decide the
same at the same step boundary, however few got the signal.
"""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.runs import metrics_file

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
WALL_TIME = "wall time"
REASONS = (*(number.name for number in SIGNALS), WALL_TIME)
END_TIME_VARIABLES = ("SLIPWAY_END_TIME", "SLURM_JOB_END_TIME")  # Unix seconds

_received: set[int] = set()


def note_early() -> None:
    """A scheduler's warning that comes while a rank still starts is kept for it, and does not end this process."""
    _received.clear()
    signal.signal(signal.SIGUSR1, _note)


def listen() -> None:
    """From now on all signals are noted, and do not end this process."""
    for number in SIGNALS:
        signal.signal(number, _note)


def _note(number: int, frame: object) -> None:
    _received.add(number)


@dataclass
class Stopping:
    """What one rank knows about ending early. Only rank 0 is given the end time: one clock decides."""

    end_time: float | None = None
    """Unix seconds at which the job is over; None: no limit."""
    save_seconds: float = 0.0
    """What a save took last time."""
    step_seconds: float = field(default=0.0)
    """The slowest step so far; 0 before the first."""

    def flags(self) -> list[float]:
        """One number for each of REASONS: 1 where this rank has seen it."""
        seen = [float(number in _received) for number in SIGNALS]
        return [*seen, float(self.is_over())]

    def is_over(self) -> bool:
        """Whether another step might leave too little time for the save (twice the last one's, for bad days)."""
        if self.end_time is None:
            return False
        return time.time() + self.step_seconds + 2 * self.save_seconds >= self.end_time


def reasons(totals: list[float]) -> list[str]:
    """Names of the flags that any rank has set."""
    return [name for name, total in zip(REASONS, totals, strict=True) if total > 0]


def end_time(config: RunConfig, environment: Mapping[str, str]) -> float | None:
    """Unix seconds at which this segment must be over; None: no limit.

    run.time_limit_minutes from the start of the command, or what the launcher says, whichever comes first.
    """
    ends = []
    if config.run.time_limit_minutes is not None:
        ends.append(started_at() + 60 * config.run.time_limit_minutes)
    for name in END_TIME_VARIABLES:
        if name in environment:
            try:
                ends.append(float(environment[name]))
            except ValueError:
                raise UserError(f"environment variable {name}: {environment[name]!r} is not a time") from None
    return min(ends, default=None)


def started_at() -> float:
    """Unix seconds at which the command started: this process, or the one that forked this rank."""
    return min(process.create_time() for process in (psutil.Process(), *_forked_from()))


def _forked_from() -> list[psutil.Process]:
    parent = psutil.Process().parent()
    return [parent] if parent and parent.cmdline() == psutil.Process().cmdline() else []


@dataclass(frozen=True)
class Pace:
    """What earlier segments of a run have measured, in seconds; 0 where nothing is known."""

    start: float = 0.0
    """From the command to the first step."""
    step: float = 0.0
    save: float = 0.0


def measured_pace(metrics: Path) -> Pace:
    """The latest measurements in a metrics.jsonl. Raises Unreadable."""
    start = step = save = 0.0
    for record in metrics_file.read(metrics).records:
        if record.get("event") == "start":
            start = metrics_file.number(record, "seconds") or start
        elif record["kind"] == "train":
            step = metrics_file.number(record, "step_seconds") or step
        elif record["kind"] == "checkpoint":
            save = metrics_file.number(record, "seconds") or save
    return Pace(start, step, save)


def check_slice(end: float | None, pace: Pace) -> None:
    """Refuse a slice of time in which not one step can be done and saved. Raises UserError with the arithmetic."""
    if end is None:
        return
    left = end - time.time()
    needed = pace.start + pace.step + 2 * pace.save
    if left <= needed:
        raise UserError(
            f"run.time_limit_minutes or the job's end: {max(left, 0.0):.1f} s are left, but start {pace.start:.1f} s "
            f"+ step {pace.step:.1f} s + save 2 x {pace.save:.1f} s = {needed:.1f} s (measured in this run): no "
            f"progress is possible; allowed: at least {needed / 60:.2f} minutes"
        )
