"""Hidden matrices: weights that map hidden states to hidden states. Imports no torch.

Optimizers that treat a weight as a matrix (Muon) are made for these. Not among them are embeddings, learned positions,
the model's input and output layers, and all vectors (https://kellerjordan.github.io/posts/muon/, arXiv 2502.16982).
"""

from typing import NamedTuple


class Matrix(NamedTuple):
    """A weight of one matrix or several, as modules hold it: [rows, columns], or [experts, rows, columns]."""

    rows: tuple[int, ...] = ()
    """Of matrices that lie below each other, in one repeat of the order in which their rows alternate; empty: the
    weight is one matrix. Tensor-parallel parts of the rows, one after the other, continue the same order."""
