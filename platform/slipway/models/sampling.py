"""Which token comes next: the most likely one, or one drawn by chance. Imports no torch."""

from typing import NamedTuple

import numpy as np


class Sampling(NamedTuple):
    """How tokens are drawn; each row of a batch draws by numbers of its own."""

    temperature: float
    """Above 0: what logits are divided by. 1: as the model has it; below, likely tokens are still likelier."""
    top_p: float = 1.0
    """Of the most likely tokens only as many as together have this probability (Holtzman et al. 2019, 1904.09751)."""
    top_k: int | None = None
    """Of the most likely tokens only so many, before top_p; None: all."""
    seed: int = 0


def distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the probabilities by which a token is drawn, fp64 [vocab_size], of logits [vocab_size].

    Order and borders are those of transformers: temperature, top-k, top-p, and the token that crosses top_p is in.
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
    """What a row draws by: the same numbers for the same seed and row, whatever the other rows are."""

    def __init__(self, seed: int, row: int) -> None:
        self.numbers = np.random.default_rng([seed, row])

    def draw(self, probabilities: np.ndarray) -> int:
        """Return an index, each as likely as it says."""
        sums = np.cumsum(probabilities)
        found = np.searchsorted(sums, self.numbers.random() * sums[-1], side="right")
        return min(
            int(found), int(np.flatnonzero(probabilities)[-1])
        )  # where the product was rounded to the sum
