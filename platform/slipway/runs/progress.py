"""How far a run is, from the end of its metrics.jsonl: as quick for a long run as for a short one."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway import files
from slipway.metrics.file import FILE, number, record_of

BLOCK = 1 << 16


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


def read_progress(run_dir: Path) -> Progress:
    """The progress of a run; an empty one where it has no metrics yet. Raises Unreadable."""
    path = run_dir / FILE
    try:
        return files.patiently(lambda: _look(path), path)
    except files.ABSENT:
        return Progress()


def _look(path: Path) -> Progress:
    with files.opened(path) as file:
        size, length = os.fstat(file.fileno()).st_size, BLOCK
        while True:
            file.seek(max(0, size - length))
            lines = file.read(length).split(b"\n")
            whole = lines[:-1] if length >= size else lines[1:-1]
            found = progress_of(whole)
            if found.step is not None or length >= size:
                return found
            length *= 8


def progress_of(lines: Iterable[bytes]) -> Progress:
    """The progress that whole lines tell of; lines that are no records are passed over."""
    stop = None
    for line in reversed(list(lines)):
        record = record_of(line)
        if record is None:
            continue
        if record.get("event") == "stop" and stop is None:
            stop = str(record.get("reason"))
        if record["kind"] == "train":
            return Progress(record["step"], number(record, "loss"), number(record, "time"), stop)
    return Progress()
