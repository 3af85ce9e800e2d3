"""Reading metrics.jsonl, the truth about a run: one JSON object a line, its `kind` first of all."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.errors import UserError

Record = dict[str, Any]


@dataclass(frozen=True)
class Metrics:
    """Lines by kind, in order of steps; of a step that was done again, the later line."""

    train: list[Record]
    validation: list[Record]

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one field of the training lines, where it is a finite number."""
        return numbers(self.train, name)


def numbers(records: list[Record], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one field, where it is a finite number."""
    found = [(record["step"], float(record[name])) for record in records if _finite(record.get(name))]
    return [step for step, _ in found], [value for _, value in found]


def read(path: Path) -> Metrics:
    """The metrics of a file; UserError where a line, other than a torn last one, is not a metrics line."""
    with path.open("rb") as file:
        return parse(file, str(path))


def parse(lines: Iterable[bytes], name: str) -> Metrics:
    """The metrics of lines; a last line without its end, left by an interruption, is left out."""
    kinds: dict[str, dict[int, Record]] = {"train": {}, "validation": {}}
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        record = _record(line, f"{name}:{number}")
        kinds.get(record["kind"], {})[record["step"]] = record
    train, validation = ([by_step[step] for step in sorted(by_step)] for by_step in kinds.values())
    return Metrics(train, validation)


def _record(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: is not a JSON object: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("step"), int) or "kind" not in record:
        shown = line[:60].decode(errors="replace").strip()
        raise UserError(
            f"{where}: `{shown}` is not a metrics line: an object with `kind` and an integer `step`"
        )
    return record


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
