"""Hidden matrices: weights that map hidden states to hidden states. Imports no torch.

Optimizers that treat a weight as a matrix (Muon) are made for these. Embeddings, learned positions, the model's input
and output layers, and all vectors are not hidden matrices (https://kellerjordan.github.io/posts/muon/, arXiv
2502.16982).
"""

from typing import NamedTuple


class Matrix(NamedTuple):
    """A weight of one matrix or several, in the shape of its module: [rows, columns], or [experts, rows, columns]."""

    rows: tuple[int, ...] = ()
    """Rows of each of several matrices that are stacked, in one repeat of the order in which they alternate; empty: the
    weight is one matrix. Tensor-parallel parts of the rows, one after the other, continue the same order."""
