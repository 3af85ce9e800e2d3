"""metrics.jsonl, the authoritative record of a run's course: the one way in which it is read. Imports no torch.

A record is a line with a JSON object that has a `kind` (text), a `step` (a whole number) and, if any, an `event`
(text). Any other line is foreign: `null`, `{}`, bytes that are not UTF-8, what a power cut or another program left.
Foreign lines stop no reader, stay in the file, and are counted. A last line without its end is torn: an interruption
left it.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import files

MISSING = "steps missing"
FOREIGN = "foreign lines"
"""Events about the file itself."""

BLOCK = 1 << 16  # bytes at the end of a file that are looked at first

Record = dict[str, Any]


@dataclass(frozen=True)
class Course:
    """The content of a metrics.jsonl, in its order."""

    records: list[Record]
    foreign: list[int]
    """Numbers of the lines that are no records, from 1."""


def read(path: Path) -> Course:
    """Return the content of a file, empty if it does not exist. Raises Unreadable."""
    return parse(files.read(path) or b"")


def newest(path: Path, until: Callable[[Record], bool]) -> list[Record]:
    """Return the newest records of a file, the last first, down to the first for which until() is true.

    Reads only as much of the file's end as that takes. Empty if the file does not exist. Raises Unreadable.
    """
    try:
        return files.patiently(lambda: _newest(path, until), path)
    except files.ABSENT:
        return []


def _newest(path: Path, until: Callable[[Record], bool]) -> list[Record]:
    with files.opened(path) as file:
        size, length = os.fstat(file.fileno()).st_size, BLOCK
        while True:
            file.seek(start := max(0, size - length))
            content = file.read(length)
            if start:
                content = content.partition(b"\n")[2]  # the rest of a line that begins before
            records = parse(content).records[::-1]
            wanted = next((number for number, record in enumerate(records) if until(record)), None)
            if wanted is not None:
                return records[: wanted + 1]
            if not start:
                return records
            length *= 8


def parse(content: bytes) -> Course:
    """Return the records in the content of a file, and the numbers of its foreign lines."""
    records, foreign = [], []
    for number, (line, record) in enumerate(lines_of(content), start=1):
        if record is not None:
            records.append(record)
        elif line.endswith(b"\n") and not line.isspace():
            foreign.append(number)
    return Course(records, foreign)


def lines_of(content: bytes) -> Iterator[tuple[bytes, Record | None]]:
    """Yield every line with its end, and its record; None if the line is foreign or torn."""
    lines = content.split(b"\n")
    for line in [*(line + b"\n" for line in lines[:-1]), *filter(None, lines[-1:])]:
        yield line, record_of(line) if line.endswith(b"\n") else None


def record_of(line: bytes) -> Record | None:
    """Return the record on a line; None if it holds none."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    if not isinstance(record.get("event", ""), str):
        return None
    return record if type(record.get("step")) is int else None


def number(record: Record, name: str) -> float | None:
    """Return a field of a record as a number; None if it is missing, not a number or not finite."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def missing_steps(records: Sequence[Record], last: int) -> list[tuple[int, int]]:
    """Return the stretches (first, last) of steps up to `last` that lack a training line.

    Steps that an event has already noted as missing are not among them.
    """
    known = {record["step"] for record in records if record["kind"] == "train"}
    for record in records:
        if record.get("event") == MISSING:
            for first, end in _pairs(record.get("steps")):
                known.update(range(max(first, 1), min(end, last) + 1))
    stretches: list[tuple[int, int]] = []
    for step in range(1, last + 1):
        if step in known:
            continue
        if stretches and stretches[-1][1] == step - 1:
            stretches[-1] = (stretches[-1][0], step)
        else:
            stretches.append((step, step))
    return stretches


def _pairs(value: object) -> list[tuple[int, int]]:
    found = value if isinstance(value, list) else []
    return [(p[0], p[1]) for p in found if isinstance(p, list) and [type(n) for n in p] == [int, int]]
