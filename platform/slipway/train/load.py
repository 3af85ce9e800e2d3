"""How evenly a step has spread its model's work, such as tokens over experts (models.family.Spread).

For people and the guard.
"""

from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.models.family import Spread

LINES = 200
"""About how many lines of kind `load` a run has if no interval is given."""
LOAD_DIGITS, VALUE_DIGITS = 3, 6
"""Digits after the decimal point."""


@dataclass(frozen=True)
class Load:
    """The share of work that each part was given over the global batch, the same on every rank."""

    spread: Spread
    counts: Tensor
    """[places, parts], fp64 on the CPU."""
    measures: dict[str, float]
    """The family's further measures."""
    values: dict[str, Tensor]
    """[places, parts] by name, fp64 on the CPU."""

    @property
    def entropies(self) -> Tensor:
        """Entropy of the parts' shares over ln(parts), [places]. 1: all have as much."""
        shares = self.counts / self.counts.sum(1, keepdim=True)
        return (
            torch.special.entr(shares).sum(1) / log(self.spread.size) if self.spread.size > 1 else _ones(self)
        )

    @property
    def evenness(self) -> dict[str, float]:
        """The evenness of each place: 0 if all went to as few parts as possible, 1 if all parts have as much.

        As few as possible are as many as each thing goes to. That is the entropy between ln(chosen) and ln(parts).
        Empty if each thing goes to all parts.
        """
        size, chosen = self.spread.size, self.spread.chosen
        if size == chosen:
            return {}
        least = log(chosen) / log(size)
        found = (self.entropies - least) / (1 - least)
        return dict(zip(self.spread.places, found.tolist(), strict=True))

    @property
    def relative(self) -> Tensor:
        """The work that each part was given, as a multiple of an even share, [places, parts]."""
        return self.counts / self.counts.mean(1, keepdim=True)

    def summary(self) -> dict[str, float]:
        """Return the numbers for a step's line, by name."""
        entropies = self.entropies
        return {
            "load_entropy": float(entropies.mean()),
            **({"load_evenness_min": min(evenness.values())} if (evenness := self.evenness) else {}),
            "load_max": float(self.relative.max()),
            f"unused_{self.spread.parts}": float((self.counts == 0).double().mean()),
            **self.measures,
        }

    def line(self) -> dict[str, Any]:
        """Return the fields of a line of kind `load`: every part's number, rounded."""
        return {
            "parts": self.spread.parts,
            "places": self.spread.places,
            "load": _rounded(self.relative, LOAD_DIGITS),
            **{name: _rounded(found, VALUE_DIGITS) for name, found in self.values.items()},
        }


def load_due(config: RunConfig, step: int) -> bool:
    """Return whether a step's load is written down part by part: the first, the last, and those at the interval."""
    given, steps = config.logging.load_interval, config.training.steps
    if given == 0:
        return False
    interval = given or -(-steps // LINES)
    return step in (1, steps) or step % interval == 0


def _rounded(numbers: Tensor, digits: int) -> list[list[float]]:
    return [[round(number, digits) for number in row] for row in numbers.tolist()]


def _ones(load: Load) -> Tensor:
    return torch.ones(len(load.spread.places), dtype=torch.float64)
