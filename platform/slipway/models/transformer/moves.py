"""The elements that operators without a product move: fused, one by one, and as torch calls them on a CPU. Pure Python.

Each entry holds what the forward pass and the backward pass read and write for each element of the operator's result
(for an MLP: of its hidden states), and how many kernels each pass launches for it.
"""

from typing import NamedTuple

from slipway.models.work import Pass, Work


class Both(NamedTuple):
    """The elements moved for each element of the result, and the kernels launched, in both passes."""

    forward: float = 0.0
    backward: float = 0.0
    kernels: int = 0
    kernels_backward: int = 0

    def work(self, size: float) -> Work:
        """Return the work for a result of so many bytes."""
        return Work(
            Pass((), self.forward * size, self.kernels), Pass((), self.backward * size, self.kernels_backward)
        )


class Moves(NamedTuple):
    """What the operators of a layer move, for one way to compute them."""

    layer_norm: Both = Both(2, 3, 1, 2)
    rms_norm: Both = Both(2, 3, 1, 2)
    residual: Both = Both(3, 4, 2, 2)
    """With its dropout."""
    gelu: Both = Both(2, 3, 1, 2)
    swiglu: Both = Both(3, 5, 1, 2)
    rotary: Both = Both(2, 2, 2, 4)
    """For each element of queries and keys; kernels: of both together."""
    split: Both = Both()
    """Of queries, keys and values, which one product computes: the backward pass joins their gradients."""
    bias: Both = Both()
    """The gradient of a bias, for each element of what its linear layer returns."""
    experts: Both = Both(8, 8, 21, 33)
    """Of the tokens' way to their experts and back, for each element that is sent; with the router's softmax."""
    loss: tuple[float, float] | None = None
    """Bytes moved for each logit, forward and backward; None: as the loss's kernel does, which is chosen by itself."""
    tables: float = 0.0
    """Bytes moved for each element of the embedding's table and of the output layer's weight, without products."""


FUSED = Moves()
"""Kernels that compute all of an operator at once, as on a GPU with Transformer Engine or Triton."""

EAGER = Moves(
    rms_norm=Both(14, 20, 5, 2),
    swiglu=Both(5, 8, 1, 2),
    rotary=Both(8, 8, 16, 32),
)
"""Frameworks that call torch's operators one by one on a GPU."""

ON_CPU = Moves(
    layer_norm=Both(2, 3, 1, 2),
    rms_norm=Both(14, 20, 7, 12),
    residual=Both(3, 3, 1, 2),
    gelu=Both(2, 3, 1, 1),
    swiglu=Both(7, 13, 3, 5),
    rotary=Both(12, 14, 18, 15),
    split=Both(0, 2, 0, 1),
    bias=Both(0, 1, 0, 2),
    experts=Both(28, 35, 33, 50),
    loss=(32, 0),
    tables=36,
)
"""What torch calls for this trainer's layers on a CPU: tests/models/transformer/test_moves.py counts the calls.

Loss: the maximum and the sum read the logits; subtraction, exponential and product read and write them. Tables: the
gradient of the output layer's weight is scaled (8 bytes) and added to the sum of gradients (12), the embedding's is
filled with zeros (4) and added (12).
"""
