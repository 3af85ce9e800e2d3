"""The energy counted in a segment, as its lines of metrics.jsonl and its record in the ledger hold it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from slipway.energy.counter import OF_DEVICES, OF_NODES, SOURCES

NOUNS = {**dict.fromkeys(OF_DEVICES, "device"), **dict.fromkeys(OF_NODES, "node")}


class Energy(BaseModel):
    """Joules from the segment's start to its newest step, all ranks together."""

    model_config = ConfigDict(frozen=True)

    joules: dict[str, float]
    """Joules by source."""
    counters: dict[str, int]
    """Number of devices, or nodes, that each source counted to the end."""

    @property
    def total(self) -> float:
        """Joules of all sources; none of them counts what another does."""
        return sum(self.joules.values())

    @property
    def in_words(self) -> str:
        """The counters in words: `NVML on 4 devices, RAPL on 1 node`."""
        counts = {source: self.counters.get(source, 0) for source in self.joules}
        return ", ".join(f"{source} on {n} {NOUNS[source]}{'s' * (n != 1)}" for source, n in counts.items())

    def covers(self, device: str | None, devices: int, nodes: int) -> bool:
        """Return whether every device (of the kind cpu or cuda) was counted to the end."""
        of_nodes = {source: self.counters.get(source, 0) for source in OF_NODES}
        if of_nodes["Cray pm_counters"] >= nodes:
            return True
        if device == "cpu":
            return of_nodes["RAPL"] >= nodes
        return sum(self.counters.get(source, 0) for source in OF_DEVICES) >= devices


def summed(numbers: Sequence[float]) -> dict[str, Any]:
    """Return a training line's fields of energy; empty if nothing was counted.

    numbers: joules and counters of each of SOURCES, in turn.
    """
    pairs = list(zip(SOURCES, numbers[::2], numbers[1::2], strict=True))
    known = [(source, joules, count) for source, joules, count in pairs if count or joules]
    if not known:
        return {}
    return {
        "energy_joules": {source: joules for source, joules, _ in known},
        "energy_counters": {source: round(count) for source, _, count in known},
    }


def read(record: Mapping[str, Any]) -> Energy | None:
    """Return the energy in a training line; None if it holds none."""
    joules, counters = record.get("energy_joules"), record.get("energy_counters")
    if not isinstance(joules, dict) or not isinstance(counters, dict):
        return None
    known = {
        source: float(value)
        for source in SOURCES
        if isinstance(value := joules.get(source), int | float) and not isinstance(value, bool) and value >= 0
    }
    counts = {source: count for source in known if type(count := counters.get(source)) is int}
    return Energy(joules=known, counters=counts) if known else None
