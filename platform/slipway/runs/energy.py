"""The energy of segments and runs: measured where every device was counted, else estimated from the profile's power."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from slipway.runs.ledger import Segment
from slipway.words import figure

JOULES_PER_KWH = 3.6e6
MARKS = {"measured": "", "estimate": "≈ ", "in part": "≥ "}

How = Literal["measured", "estimate", "in part", "unknown"]
"""in part: measured, and other devices, nodes or segments used more that nobody counted."""


@dataclass(frozen=True)
class Use:
    """Energy, and how it is known."""

    kwh: float | None
    how: How
    source: str
    """In words; empty: unknown."""

    @property
    def in_words(self) -> str:
        """`12.3`, `≈ 12.3` for an estimate, `≥ 12.3` where not all was counted; `-` where nothing is known."""
        return "-" if self.kwh is None else f"{MARKS[self.how]}{figure(self.kwh)}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"kwh": self.kwh, "how": self.how, "source": self.source}


NOTHING = Use(None, "unknown", "")


def of_segment(segment: Segment) -> Use:
    """What a segment used."""
    facts, counted = segment.facts, segment.energy
    measured = None if counted is None else counted.total / JOULES_PER_KWH
    if counted and counted.covers(facts.device, facts.world_size, facts.nodes):
        return Use(measured, "measured", counted.in_words)
    if facts.device_watts is not None:
        source = f"{facts.device_watts:,.0f} W a device at full load x device-hours"
        return Use(facts.device_watts * segment.device_hours / 1000, "estimate", source)
    if counted:
        return Use(measured, "in part", counted.in_words)
    return NOTHING


def of_run(segments: Iterable[Segment]) -> Use:
    """The sum over a run's segments; an estimate where one of them is."""
    every = [of_segment(segment) for segment in segments]
    known = [one for one in every if one.kwh is not None]
    if not known:
        return NOTHING
    ways = {one.how for one in every}
    how: How = (
        "in part" if ways & {"in part", "unknown"} else "estimate" if "estimate" in ways else "measured"
    )
    return Use(
        sum(one.kwh or 0.0 for one in known), how, "; ".join(dict.fromkeys(one.source for one in known))
    )
