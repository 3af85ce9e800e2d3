"""The cost of a run's segments and interruptions: starts, steps done again, pauses, time blocked."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from slipway.metrics.file import Record, number
from slipway.report.metrics import Metrics
from slipway.runs.ledger import Segment


@dataclass(frozen=True)
class Spell:
    """A segment, and what beginning it cost."""

    segment: Segment
    pause: float | None
    """Seconds between the segment before it and this one, in which nothing ran; None: it is the first."""
    start: float | None
    """Seconds from the command to the first step; None: not recorded."""
    again: int
    """Steps that the segments before it had done and that it had to do again."""


@dataclass(frozen=True)
class Costs:
    """Seconds of all segments together, by what they were spent on; they add up to `total`."""

    total: float
    steps: float
    """The steps that count."""
    starts: float
    again: float
    """Steps that were done again: their number x the median step, as their own lines are gone."""
    checkpoints: float
    """Time in which training was blocked by one."""
    rest: float
    """Validation, loading, the end of a segment: no line tells them apart."""
    pauses: float
    """Between segments; not in `total`, as nothing ran."""
    steps_again: int
    """Number of steps done again, after interruptions and after going back to a checkpoint."""


def spells(segments: Sequence[Segment], metrics: Metrics) -> list[Spell]:
    """Return each segment with the cost of its beginning."""
    starts = [one for one in metrics.others if one.get("event") == "start"]
    found, before = [], None
    for segment in segments:
        pause, again = None, 0
        if before is not None:
            pause = max(0.0, segment.started - _end(before))
            again = max(0, (before.last_step or 0) - segment.first_step + 1)
        own = [one for one in starts if segment.started <= (number(one, "time") or 0) <= _end(segment)]
        found.append(Spell(segment, pause, number(own[0], "seconds") if own else None, again))
        before = segment
    return found


def add_up(found: Sequence[Spell], metrics: Metrics) -> Costs:
    """Return the sums over a run. Without a ledger, `total` is what the lines account for."""
    seconds = metrics.column("step_seconds")[1]
    usual = median(seconds) if seconds else 0.0
    again = sum(one.again for one in found) + sum(map(_undone, metrics.others))
    starts = sum(one.start or 0.0 for one in found)
    stalls = [number(one, "stall_seconds") or 0.0 for one in metrics.others if one["kind"] == "checkpoint"]
    parts = (sum(seconds), starts, again * usual, sum(stalls))
    total = max(sum(_end(one.segment) - one.segment.started for one in found), sum(parts))
    return Costs(total, *parts, total - sum(parts), sum(one.pause or 0.0 for one in found), again)


def _undone(record: Record) -> int:
    """Return the number of steps that going back to a checkpoint has undone."""
    at = number(record, "at_step")
    return max(0, int(at) - record["step"]) if record.get("event") == "rollback" and at is not None else 0


def _end(segment: Segment) -> float:
    return max(segment.started, segment.updated if segment.ended is None else segment.ended)
