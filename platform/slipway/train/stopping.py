"""When a segment ends before its run does: a signal to any rank, or the wall time. Imports no torch.

Each rank notes what it has seen; the flags travel with the step's loss reduction, so that all ranks decide the same at
the same step boundary, however few got the signal.
"""

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path

import psutil

from slipway import files
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.metrics import file as metrics_file
from slipway.ranks import awake, signals

WALL_TIME = "wall time"
REFUSED = "slice refused"
LAST = 5  # measurements that count
REASONS = (*(number.name for number in signals.KINDS), WALL_TIME)
END_TIME_VARIABLES = ("SLIPWAY_END_TIME", "SLURM_JOB_END_TIME")  # Unix seconds


class Durations:
    """The durations of something that happens again and again, in seconds."""

    def __init__(self, earlier: Sequence[float] = ()) -> None:
        self._count, self._longest = len(earlier), sorted(earlier)[-2:]

    def add(self, seconds: float) -> None:
        """Add one more duration."""
        self._count += 1
        self._longest = sorted([*self._longest, seconds])[-2:]

    @property
    def most(self) -> float:
        """The longest; from three on the longest but one, as a single bad moment is no rule. 0 if there is none."""
        return 0.0 if not self._count else self._longest[0 if self._count > 2 else -1]


@dataclass
class Stopping:
    """One rank's knowledge about ending early. Only rank 0 is given the end: one clock decides."""

    end: float | None = None
    """When the job is over, by time.monotonic; None: no limit."""
    saves: Durations = field(default_factory=Durations)
    steps: Durations = field(default_factory=Durations)
    _since: float | None = None  # when the step under way began, by awake.now

    def step_begins(self) -> None:
        """Begin a step and record the time of the one before.

        It is measured awake: a job that was suspended has no slow steps.
        """
        now = awake.now()
        if self._since is not None:
            self.steps.add(now - self._since)
        self._since = now

    def flags(self) -> list[float]:
        """Return one number for each of REASONS: 1 if this rank has seen it, else 0."""
        seen = [float(number in signals.received) for number in signals.KINDS]
        return [*seen, float(self.is_over())]

    def is_over(self) -> bool:
        """Return whether another step might leave too little time to save.

        It allows twice the time that a save takes, for bad days.
        """
        return self.end is not None and time.monotonic() + self.steps.most + 2 * self.saves.most >= self.end


def reasons(totals: list[float]) -> list[str]:
    """Return the names of the flags that any rank has set."""
    return [name for name, total in zip(REASONS, totals, strict=True) if total > 0]


def end_time(config: RunConfig, environment: Mapping[str, str]) -> float | None:
    """Return when this segment must be over, by time.monotonic, which nobody sets; None: no limit.

    That is run.time_limit_minutes from the start of the command, or the launcher's time, whichever comes first. A
    launcher's time in the past means nothing for a job that runs: it is reported and ignored. Raises UserError if the
    launcher's time is no time.
    """
    ends = []
    if config.run.time_limit_minutes is not None:
        ends.append(signals.began + 60 * config.run.time_limit_minutes)
    for name in END_TIME_VARIABLES:
        if name in environment:
            left = _seconds(name, environment[name]) - time.time()
            if left > 0:
                ends.append(time.monotonic() + left)
            else:
                print(
                    f"environment variable {name}: {environment[name]} was {-left:.0f} s ago by this machine's clock, "
                    "and the job runs: not heeded",
                    flush=True,
                )
    return min(ends, default=None)


def _seconds(name: str, text: str) -> float:
    try:
        if isfinite(float(text)):
            return float(text)
    except ValueError:
        pass
    raise UserError(
        f"environment variable {name}", "is not a time", value=text, do="set it in Unix seconds, or unset it"
    )


def started_at() -> float:
    """Return the Unix seconds at which the command started: this process, or the one that forked this rank."""
    return min(process.create_time() for process in (psutil.Process(), *_forked_from()))


def _forked_from() -> list[psutil.Process]:
    parent = psutil.Process().parent()
    return [parent] if parent and parent.cmdline() == psutil.Process().cmdline() else []


@dataclass(frozen=True)
class Pace:
    """The latest measurements of earlier segments of a run, in seconds, oldest first."""

    starts: Sequence[float] = ()
    """Seconds from the command to the first step."""
    steps: Sequence[float] = ()
    saves: Sequence[float] = ()
    refused: bool = False
    """Whether the last start was refused because of them."""

    @property
    def is_sure(self) -> bool:
        """Whether each was measured more than once."""
        return min(len(self.starts), len(self.steps), len(self.saves)) > 1


def measured_pace(metrics: Path) -> Pace:
    """Return the latest measurements in a metrics.jsonl. Raises Unreadable."""
    found = {kind: deque[float](maxlen=LAST) for kind in ("start", "train", "checkpoint")}
    refused = False
    for record in metrics_file.read(metrics).records:
        kind = record.get("event") or record["kind"]
        if kind in ("start", REFUSED):
            refused = kind == REFUSED
        if kind in found:
            seconds = metrics_file.number(record, "step_seconds" if kind == "train" else "seconds")
            if seconds is not None and 0 <= seconds < inf:
                found[kind].append(seconds)
    return Pace(found["start"], found["train"], found["checkpoint"], refused)


def check_slice(end: float | None, pace: Pace) -> str | None:
    """Refuse a slice of time in which not one step can be done and saved.

    Raises UserError with the arithmetic. The shortest measurement of each counts. An estimate can be wrong, so it does
    not stand in the way for ever: if it rests on one measurement, or the last start was refused because of it, the
    slice is tried. Then a warning is returned, otherwise None.
    """
    if end is None or not pace.starts:
        return None
    left = end - time.monotonic()
    start, step, save = (min(seconds, default=0.0) for seconds in (pace.starts, pace.steps, pace.saves))
    needed = start + step + 2 * save
    if left > needed:
        return None
    refusal = UserError(
        "run.time_limit_minutes or the job's end",
        f"too little time for one step and a checkpoint: {max(left, 0.0):.1f} s are left, but start {start:.1f} s "
        f"+ step {step:.1f} s + save 2 x {save:.1f} s = {needed:.1f} s (the shortest times that this run has measured)",
        use=f"at least {needed / 60:.2f} minutes",
        do="run the same command again to try anyway",
    )
    if pace.is_sure and not pace.refused:
        raise refusal
    why = "an earlier start was refused" if pace.refused else "none of these was measured twice yet"
    return f"{refusal.path}: {refusal.problem}; trying anyway, because {why}"


def note_refusal(metrics: Path, step: int) -> None:
    """Write down that check_slice has refused, so that the next start is tried; a failure to write is ignored."""
    record = {"kind": "event", "time": time.time(), "step": step, "event": REFUSED}
    with suppress(OSError):
        files.append(metrics, json.dumps(record))
