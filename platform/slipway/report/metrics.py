"""The numbers of a run by step, from the records of its metrics.jsonl."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.metrics import file as metrics_file
from slipway.metrics.file import Record, number
from slipway.plan.units import Units


@dataclass(frozen=True)
class Metrics:
    """Lines by kind, in the order of steps; for a step that was done again, the later line."""

    train: list[Record]
    validation: list[Record]
    foreign: Sequence[int] = ()
    """Numbers of the lines that are no records."""
    units: Units = Units()
    """The units that the newest segment recorded."""
    others: Sequence[Record] = ()
    """All other records, as they were written: events, checkpoints, the ranks' times, profiles."""
    peak: str = ""
    """The source of the newest segment's peak: profile, measured; empty: not known."""

    _columns: dict[str, tuple[list[int], list[float]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps and the values of one field of the training lines, where it is a finite number."""
        if name not in self._columns:
            self._columns[name] = numbers(self.train, name)
        return self._columns[name]


def measures(records: Sequence[Record]) -> dict[str, tuple[list[int], list[float]]]:
    """Return the steps and the values of each further measure of a family, in the order in which they appear."""
    held = [
        record | {"measures": found}
        for record in records
        if isinstance(found := record.get("measures"), dict)
    ]
    names = dict.fromkeys(name for record in held for name in record["measures"])
    return {
        name: numbers([{"step": r["step"], name: r["measures"].get(name)} for r in held], name)
        for name in names
    }


def numbers(records: Iterable[Record], name: str) -> tuple[list[int], list[float]]:
    """Return the steps and the values of one field, where it is a finite number."""
    found = [(record["step"], value) for record in records if (value := number(record, name)) is not None]
    return [step for step, _ in found], [value for _, value in found]


def read(path: Path) -> Metrics:
    """Return the metrics in a file. Raises Unreadable."""
    return by_step(metrics_file.read(path))


def by_step(course: metrics_file.Course) -> Metrics:
    """Return the metrics of a run's course, by kind and step."""
    kinds: dict[str, dict[int, Record]] = {"train": {}, "validation": {}}
    units, peak = Units(), ""
    others = []
    for record in course.records:
        if record["kind"] in kinds:
            kinds[record["kind"]][record["step"]] = record
        else:
            others.append(record)
        if record.get("event") == "start":
            units, peak = Units.read(record), str(record.get("peak", ""))
    train, validation = ([of_kind[step] for step in sorted(of_kind)] for of_kind in kinds.values())
    return Metrics(train, validation, course.foreign, units, others, peak)
