"""How a run's model has spread its work, such as tokens over experts, from the lines of kind `load`. Pure Python."""

from typing import Any, NamedTuple, TypeGuard

from slipway.metrics.events import COLLAPSE, RECOVERY
from slipway.metrics.file import Record
from slipway.report.metrics import Metrics


class Loads(NamedTuple):
    """The load of every part at some steps."""

    parts: str
    """The parts that have the load, in the plural: experts."""
    places: list[str]
    steps: list[int]
    values: list[list[list[float]]]
    """For each step and place the load of each part; 1: an even share."""


def loads(metrics: Metrics) -> Loads | None:
    """Return the loads that have the newest one's form, in the order of steps; None if none was recorded."""
    found = {
        record["step"]: record for record in metrics.others if record["kind"] == "load" and _is_whole(record)
    }
    if not found:
        return None
    newest = found[max(found)]
    alike = [found[step] for step in sorted(found) if _form(found[step]) == _form(newest)]
    return Loads(
        newest["parts"], newest["places"], [one["step"] for one in alike], [one["load"] for one in alike]
    )


def events(metrics: Metrics) -> list[Record]:
    """Return the guard's events about the load, in the order of steps."""
    found = [record for record in metrics.others if record.get("event") in (COLLAPSE, RECOVERY)]
    return sorted(found, key=lambda record: record["step"])


def sentences(metrics: Metrics) -> list[str]:
    """Return the newest load and the guard's events as sentences."""
    told = loads(metrics)
    said = [f"step {record['step']:,}: {record.get('reason')}" for record in events(metrics)]
    if told is None:
        return said
    newest = dict(zip(told.places, told.values[-1], strict=True))
    busiest = max(newest, key=lambda place: max(newest[place]))
    every = [load for row in newest.values() for load in row]
    return [
        f"load of the {told.parts} at step {told.steps[-1]:,}: {max(newest[busiest]):.2f} times an even share at "
        f"most ({busiest}), {min(every):.2f} at least; {every.count(0)} of {len(every)} without any",
        *said,
    ]


def _form(record: Record) -> Any:
    return record["parts"], record["places"], len(record["load"][0])


def _is_whole(record: Record) -> bool:
    """Return whether the fields are as train.load writes them, as the file may hold anything."""
    parts, places, rows = record.get("parts"), record.get("places"), record.get("load")
    if not (isinstance(parts, str) and _are(places, str) and _are(rows, list) and len(places) == len(rows)):
        return False
    return all(len(row) == len(rows[0]) and _are(row, (int, float)) for row in rows)


def _are(values: Any, kind: Any) -> TypeGuard[list[Any]]:
    """Return whether `values` is a list that is not empty and holds one kind of value, booleans excepted."""
    if not isinstance(values, list) or not values:
        return False
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
