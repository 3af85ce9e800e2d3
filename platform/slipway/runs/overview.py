"""The overview of a run that `slipway runs` shows: its records, its progress and its holder put together."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from slipway.errors import UserError
from slipway.files import Unreadable
from slipway.launch import record
from slipway.plan.facts import Facts, read_facts
from slipway.run_dir import RunDir
from slipway.runs import ledger
from slipway.runs.energy import Use, of_run
from slipway.runs.ledger import Segment
from slipway.runs.lock.holder import Holder
from slipway.runs.lock.lock import holder_of
from slipway.runs.progress import Progress, read_progress

State = Literal["submitted", "running", "finished", "stopped", "failed", "lost"]
T = TypeVar("T")
DEPTH = 4  # sweeps put runs into folders of their own


@dataclass(frozen=True)
class Overview:
    """A run as it is now."""

    dir: Path
    facts: Facts | None
    """Facts of the newest segment, else as submitted; None: no segment, plan or submission has them."""
    segments: list[Segment]
    progress: Progress
    holder: Holder | None
    state: State
    changed: float
    """Unix seconds of the last sign of life."""
    problems: tuple[str, ...] = ()
    """A line about each file that could not be read or is not what it should be."""

    @property
    def name(self) -> str:
        """The run's own name, else its folder's."""
        return self.facts.name if self.facts else self.dir.resolve().name

    @property
    def device_hours(self) -> float:
        """Devices x hours over all segments."""
        return sum(segment.device_hours for segment in self.segments)

    @property
    def energy(self) -> Use:
        """The energy used by all segments."""
        return of_run(self.segments)

    @property
    def why(self) -> str | None:
        """The reason why the newest segment ended; None if the state says it."""
        last = self.segments[-1] if self.segments else None
        if self.state == "running" or last is None or last.reason in (None, self.state):
            return None
        return reason_text(last)

    def as_json(self) -> dict[str, Any]:
        """Return the run as JSON, for programs; times in Unix seconds."""
        facts, holder = self.facts, self.holder
        return {
            "name": self.name,
            "dir": str(self.dir),
            "model": facts.model if facts else None,
            "layout": facts.layout if facts else None,
            "world_size": facts.world_size if facts else None,
            "step": self.progress.step,
            "steps": facts.steps if facts else None,
            "loss": self.progress.loss,
            "segments": len(self.segments),
            "device_hours": self.device_hours,
            "energy_used": self.energy.as_json(),
            "state": self.state,
            "why": self.why,
            "holder": holder.model_dump(mode="json") if holder else None,
            "changed": self.changed,
            "unreadable": list(self.problems),
        }


def look(run_dir: Path, now: float) -> Overview:
    """Return the overview of the run in a folder, at a time (Unix seconds).

    What cannot be read is left out and reported in `problems`.
    """
    problems: list[str] = []

    def seen(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (UserError, Unreadable) as error:
            problems.append(str(error))
            return otherwise

    holder = seen(lambda: holder_of(run_dir, now), None)
    none: list[Segment] = []
    alive = holder is not None
    segments = seen(lambda: ledger.read_segments(run_dir, alive, problems.append), none)
    if segments and segments[-1].ended is None:  # under way: it lives until now
        segments[-1] = segments[-1].model_copy(update={"updated": now})
    submitted = seen(lambda: record.read(run_dir), None)
    facts = segments[-1].facts if segments else seen(lambda: read_facts(run_dir), None)
    if facts is None and submitted:
        facts = submitted.submissions[-1].facts
    progress = seen(lambda: read_progress(run_dir), Progress())
    waits = submitted is not None and not segments and progress.step is None and holder is None
    return Overview(
        dir=run_dir,
        facts=facts,
        segments=segments,
        progress=progress,
        holder=holder,
        state="submitted" if waits else state_of(segments, progress, facts, holder),
        changed=max([_changed(run_dir), *(segment.ended or segment.updated for segment in segments[-1:])]),
        problems=tuple(problems),
    )


def state_of(
    segments: list[Segment], progress: Progress, facts: Facts | None, holder: Holder | None
) -> State:
    """Return the state of a run as one word."""
    if holder is not None:
        return "running"
    reason = segments[-1].reason if segments else None
    if reason in ("failed", "user error"):
        return "failed"
    if reason == "lost":
        return "lost"
    if reason is None:  # from before there was a ledger
        whole = facts is not None and progress.step is not None and progress.step >= facts.steps
        return "finished" if whole else "stopped"
    return "finished" if reason == "finished" else "stopped"


def reason_text(segment: Segment) -> str:
    """Return why a segment ended: `signal (SIGTERM)`, `failed`...; `under way` if it has not ended."""
    if segment.reason is None:
        return "under way"
    return segment.reason + (f" ({segment.detail})" if segment.detail else "")


def find(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the run directories below a folder, the folder included, in order of their names; none inside another."""
    if is_run(folder):
        yield folder
    elif depth > 0:
        try:
            inside = sorted(
                entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
            )
        except OSError:
            return
        for name in inside:
            yield from find(folder / name, depth - 1)


def is_run(folder: Path) -> bool:
    """Return whether a folder is the directory of a run, or of one that was submitted and has not started."""
    run = RunDir(folder)
    if run.segments.is_dir() or run.submissions.is_file():
        return True
    return run.plan.is_file() and run.metrics.is_file()


def _changed(run_dir: Path) -> float:
    """Return when the metrics or, before the first step, the folder changed, in Unix seconds; 0 if neither exists."""
    for path in (RunDir(run_dir).metrics, run_dir):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0
