"""How evenly a step has handed out what its model hands out (models.family.Spread), for people and the guard."""

from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.models.family import Spread

LINES = 200
"""Of kind `load` in a run, about, where no interval is given."""
LOAD_DIGITS, VALUE_DIGITS = 3, 6
"""Behind the point."""


@dataclass(frozen=True)
class Load:
    """What each part was given over the global batch, the same on every rank."""

    spread: Spread
    counts: Tensor
    """[places, parts], fp64 on the CPU."""
    measures: dict[str, float]
    """What the family says besides."""
    values: dict[str, Tensor]
    """[places, parts] by name, likewise."""

    @property
    def entropies(self) -> Tensor:
        """[places]: entropy of the parts' shares, over ln(parts). 1: all have as much."""
        shares = self.counts / self.counts.sum(1, keepdim=True)
        return (
            torch.special.entr(shares).sum(1) / log(self.spread.size) if self.spread.size > 1 else _ones(self)
        )

    @property
    def evenness(self) -> dict[str, float]:
        """By place: 0 where all went to the same parts, as many as each thing goes to; 1 where all parts have as much.

        That is the entropy between ln(chosen) and ln(parts). Empty where each thing goes to all parts.
        """
        size, chosen = self.spread.size, self.spread.chosen
        if size == chosen:
            return {}
        least = log(chosen) / log(size)
        found = (self.entropies - least) / (1 - least)
        return dict(zip(self.spread.places, found.tolist(), strict=True))

    @property
    def relative(self) -> Tensor:
        """[places, parts]: how much each part was given, as a multiple of an even share."""
        return self.counts / self.counts.mean(1, keepdim=True)

    def summary(self) -> dict[str, float]:
        """Return the numbers of a step's line, by name."""
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
