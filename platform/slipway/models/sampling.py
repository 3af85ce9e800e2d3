"""Choose the next token: the most likely one, or one drawn at random. Imports no torch."""

from typing import NamedTuple

import numpy as np


class Sampling(NamedTuple):
    """Settings by which tokens are drawn; each row of a batch draws its own random numbers."""

    temperature: float
    """Above 0: logits are divided by it. 1: the model's own distribution; below 1, likely tokens become likelier."""
    top_p: float = 1.0
    """Keep only the most likely tokens that together reach this probability (Holtzman et al. 2019, 1904.09751)."""
    top_k: int | None = None
    """Keep only this many of the most likely tokens, before top_p; None: all."""
    seed: int = 0


def distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probabilities by which a token is drawn, fp64 [vocab_size], from logits [vocab_size].

    The order and the limits are those of transformers: temperature, top-k, top-p; the token that crosses top_p is kept.
    """
    scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < len(scaled):
        scaled[scaled < np.partition(scaled, -sampling.top_k)[-sampling.top_k]] = -np.inf
    likely = np.exp(scaled)
    likely /= likely.sum()
    if sampling.top_p < 1:
        order = np.argsort(-likely, kind="stable")
        before = np.cumsum(likely[order]) - likely[order]
        likely[order[before >= sampling.top_p]] = 0
        likely /= likely.sum()
    return likely


class Dice:
    """The random numbers of one row: the same for the same seed and row, whatever the other rows are."""

    def __init__(self, seed: int, row: int) -> None:
        self.numbers = np.random.default_rng([seed, row])

    def draw(self, probabilities: np.ndarray) -> int:
        """Return an index, drawn with the given probabilities [vocab_size]."""
        sums = np.cumsum(probabilities)
        found = np.searchsorted(sums, self.numbers.random() * sums[-1], side="right")
        return min(
            int(found), int(np.flatnonzero(probabilities)[-1])
        )  # the product may be rounded up to the sum
