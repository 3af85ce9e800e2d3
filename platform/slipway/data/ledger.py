"""The position in the data: how many samples of each source the run has drawn. Imports no torch.

A blend is drawn by stride scheduling (Waldspurger and Weihl 1995): the next sample comes from the source that is
furthest behind its weight since the weights were last changed. So a position and the weights alone decide what follows,
whatever the batch size, the number of ranks or the number of steps to come.
"""

import heapq
import json
from collections.abc import Mapping
from functools import lru_cache
from math import fsum, isclose
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeInt, PositiveFloat

from slipway.errors import UserError


class Draw(NamedTuple):
    """One sample: `number` counts the source's samples from 0 over the whole run."""

    source: str
    number: int


class Phase(BaseModel):
    """A stretch of the run with the same weights, and the samples drawn in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, PositiveFloat]
    """The sources' shares, which sum to 1."""
    consumed: dict[str, NonNegativeInt]

    @property
    def drawn(self) -> int:
        """The samples that were drawn in this phase, from all sources."""
        return sum(self.consumed.values())


class DataLedger(BaseModel):
    """The samples that were drawn from each source; an immutable value, the same on every rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    facts: dict[str, dict[str, JsonValue]]
    """Everything that the meaning of each source's samples depends on; opaque here, must not change."""
    signatures: dict[str, JsonValue] = {}
    """What each source's files looked like at the last start; opaque here, may change."""
    phases: list[Phase]
    """All phases, of which the last is under way."""

    @classmethod
    def begin(
        cls,
        seed: int,
        weights: Mapping[str, float],
        facts: Mapping[str, dict[str, Any]],
        signatures: Mapping[str, Any] | None = None,
    ) -> "DataLedger":
        """Return the ledger of a run that has drawn nothing yet. weights: above 0, with any sum."""
        return cls(
            seed=seed, facts=dict(facts), signatures=dict(signatures or {}), phases=[_phase(_shares(weights))]
        )

    def resume(
        self,
        seed: int,
        weights: Mapping[str, float],
        facts: Mapping[str, dict[str, Any]],
        signatures: Mapping[str, Any] | None = None,
    ) -> "DataLedger":
        """Return the ledger of a run that resumes at this position, with a new phase if the weights have changed.

        A source that is no longer drawn keeps its facts and counts; one that is drawn again continues where it stopped.
        Raises UserError if the seed has changed, or a fact of a source that was drawn before.
        """
        if seed != self.seed:
            raise UserError(
                "training.seed",
                f"differs from {self.seed} in the checkpoint, and the order of the samples depends on the seed",
                value=seed,
                do="set it back, or choose another run.dir",
            )
        for source, now in facts.items():
            _check_facts(source, self.facts.get(source, now), now)
        shares = _shares(weights)
        # what a phase has drawn is kept; one that has drawn nothing leaves no trace
        phases = [phase for phase in self.phases if phase.drawn]
        if not phases or not _same(phases[-1].weights, shares):
            phases.append(_phase(shares))
        return self.model_copy(
            update={
                "facts": {**self.facts, **facts},
                "signatures": {**self.signatures, **(signatures or {})},
                "phases": phases,
            }
        )

    @property
    def weights(self) -> dict[str, float]:
        """The sources' shares in the samples to come."""
        return self.phases[-1].weights

    @property
    def consumed(self) -> dict[str, int]:
        """The samples drawn so far by source, including sources that are no longer drawn."""
        total: dict[str, int] = {}
        for phase in self.phases:
            for name, count in phase.consumed.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def total(self) -> int:
        """The samples drawn so far."""
        return sum(phase.drawn for phase in self.phases)

    @property
    def change(self) -> str:
        """Each source's old and new share, in words, if the weights have just been changed; else empty."""
        if len(self.phases) < 2 or self.phases[-1].drawn:
            return ""
        before, now = self.phases[-2].weights, self.phases[-1].weights
        return ", ".join(
            f"{name} {before.get(name, 0):.4g} -> {now.get(name, 0):.4g}" for name in sorted(before | now)
        )

    def draw(self, samples: int) -> list[Draw]:
        """Return the next samples to draw."""
        numbers = self.consumed
        drawn = []
        for source in self._next(samples):
            drawn.append(Draw(source, numbers[source]))
            numbers[source] += 1
        return drawn

    def advance(self, samples: int) -> "DataLedger":
        """Return the ledger after the next samples have been drawn."""
        last = self.phases[-1]
        consumed = dict(last.consumed)
        for source in self._next(samples):
            consumed[source] += 1
        last = last.model_copy(update={"consumed": consumed})
        return self.model_copy(update={"phases": [*self.phases[:-1], last]})

    def _next(self, samples: int) -> tuple[str, ...]:
        phase = self.phases[-1]
        return _schedule(tuple((n, w, phase.consumed[n]) for n, w in sorted(phase.weights.items())), samples)


@lru_cache(8)  # a step draws and advances, in two threads
def _schedule(sources: tuple[tuple[str, float, int], ...], samples: int) -> tuple[str, ...]:
    """Return the source of each of the next samples: the one with the least (consumed + 1/2) / weight goes first.

    sources: name, weight and consumed samples of each.
    """
    heap = [((count + 0.5) / weight, name, count + 1.5, weight) for name, weight, count in sources]
    heapq.heapify(heap)
    turns = []
    for _ in range(samples):
        _, name, following, weight = heap[0]
        turns.append(name)
        heapq.heapreplace(heap, (following / weight, name, following + 1, weight))
    return tuple(turns)


def _phase(shares: dict[str, float]) -> Phase:
    return Phase(weights=shares, consumed=dict.fromkeys(shares, 0))


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = fsum(weights.values())
    return {name: weight / total for name, weight in sorted(weights.items())}


def _same(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return first.keys() == second.keys() and all(isclose(first[n], second[n], rel_tol=1e-9) for n in first)


def _check_facts(source: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise UserError(
                f"data.sources.{source}",
                f"{name} is {_short(now.get(name))}, but was {_short(before.get(name))} when the run read from it",
                do="set it back, give the new data another source name, or choose another run.dir",
            )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
