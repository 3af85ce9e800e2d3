"""The energy of segments and runs: measured if every device was counted, else estimated from the profile's power."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway.launch.schedulers import slurm_energy
from slipway.runs.ledger import Segment
from slipway.words import figure

JOULES_PER_KWH = 3.6e6
MARKS = {"measured": "", "estimate": "≈ ", "in part": "≥ "}

How = Literal["measured", "estimate", "in part", "unknown"]
"""How an energy is known; in part: measured, but other devices, nodes or segments used more that nobody counted."""


@dataclass(frozen=True)
class Use:
    """An energy, and how it is known."""

    kwh: float | None
    how: How
    source: str
    """The source in words; empty: unknown."""

    @property
    def in_words(self) -> str:
        """`12.3`, `≈ 12.3` for an estimate, `≥ 12.3` if not all was counted; `-` if nothing is known."""
        return "-" if self.kwh is None else f"{MARKS[self.how]}{figure(self.kwh)}"

    def as_json(self) -> dict[str, Any]:
        """Return the energy as JSON, for programs."""
        return {"kwh": self.kwh, "how": self.how, "source": self.source}


NOTHING = Use(None, "unknown", "")


def of_segment(segment: Segment, accounted: Mapping[int, float] | None = None) -> Use:
    """Return the energy that a segment used. accounted: joules by segment, as a scheduler has them."""
    facts, counted = segment.facts, segment.energy
    measured = None if counted is None else counted.total / JOULES_PER_KWH
    if counted and counted.covers(facts.device, facts.world_size, facts.nodes):
        return Use(measured, "measured", counted.in_words)
    if accounted and segment.number in accounted:
        source = f"Slurm's accounting of job {segment.job}, whole nodes"
        return Use(accounted[segment.number] / JOULES_PER_KWH, "measured", source)
    if facts.device_watts is not None:
        source = f"{facts.device_watts:,.0f} W a device at full load x device-hours"
        return Use(facts.device_watts * segment.device_hours / 1000, "estimate", source)
    if counted:
        return Use(measured, "in part", counted.in_words)
    return NOTHING


def of_run(segments: Iterable[Segment], accounted: Mapping[int, float] | None = None) -> Use:
    """Return the sum over a run's segments; it is an estimate if one of them is. accounted: see of_segment."""
    every = [of_segment(segment, accounted) for segment in segments]
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


def ask_slurm(segments: Iterable[Segment]) -> dict[int, float]:
    """Return joules by segment, for those that nobody measured and whose Slurm job is over. Calls sacct at most once.

    A job that was requeued has several segments and one account, so theirs are not known.
    """
    ours = list(segments)
    times = Counter(segment.job for segment in ours)
    jobs = {
        segment.number: segment.job
        for segment in ours
        if segment.job and segment.node_list and segment.ended is not None and times[segment.job] == 1
        if of_segment(segment).how != "measured"
    }
    found = slurm_energy.joules(jobs.values())
    return {number: found[job] for number, job in jobs.items() if job in found}
