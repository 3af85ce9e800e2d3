"""How far a run is, from the end of its metrics.jsonl: as quick for a long run as for a short one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway.energy import record as energy
from slipway.energy.record import Energy
from slipway.metrics.file import Record, newest, number
from slipway.run_dir import RunDir


@dataclass(frozen=True)
class Progress:
    """What the last lines say; None: not recorded."""

    step: int | None = None
    """Last step trained."""
    loss: float | None = None
    """Of that step."""
    time: float | None = None
    """Unix seconds, of that step."""
    stop: str | None = None
    """Why training stopped after that step, where it said so."""
    energy: Energy | None = None
    """Of the segment that did that step, from its start on."""


def read_progress(run_dir: Path) -> Progress:
    """Return the progress of a run; an empty one where it has no metrics yet. Raises Unreadable."""
    return progress_of(newest(RunDir(run_dir).metrics, until=lambda record: record["kind"] == "train"))


def progress_of(records: Iterable[Record]) -> Progress:
    """Return the progress that records tell of, the newest first."""
    stop = None
    for record in records:
        if record.get("event") == "stop" and stop is None:
            stop = str(record.get("reason"))
        if record["kind"] == "train":
            return Progress(
                record["step"], number(record, "loss"), number(record, "time"), stop, energy.read(record)
            )
    return Progress()
