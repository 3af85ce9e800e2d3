"""The progress of a run, from the end of its metrics.jsonl: as quick for a long run as for a short one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway.energy import record as energy
from slipway.energy.record import Energy
from slipway.metrics.file import Record, newest, number
from slipway.run_dir import RunDir


@dataclass(frozen=True)
class Progress:
    """The progress that the last lines tell of; None: not recorded."""

    step: int | None = None
    """The last step that was trained."""
    loss: float | None = None
    """The loss of that step."""
    time: float | None = None
    """The time of that step in Unix seconds."""
    stop: str | None = None
    """The reason why training stopped after that step; None if none was given."""
    energy: Energy | None = None
    """The energy of the segment that did that step, from its start."""


def read_progress(run_dir: Path) -> Progress:
    """Return the progress of a run; an empty one if it has no metrics yet. Raises Unreadable."""
    return progress_of(newest(RunDir(run_dir).metrics, until=lambda record: record["kind"] == "train"))


def progress_of(records: Iterable[Record]) -> Progress:
    """Return the progress that records tell of; they come newest first."""
    stop = None
    for record in records:
        if record.get("event") == "stop" and stop is None:
            stop = str(record.get("reason"))
        if record["kind"] == "train":
            return Progress(
                record["step"], number(record, "loss"), number(record, "time"), stop, energy.read(record)
            )
    return Progress()
