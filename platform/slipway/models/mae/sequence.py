"""Sequences that sequence parallelism cuts over tensor-parallel ranks: padded where they do not divide.

Outside of transformer blocks all tensor-parallel ranks compute the same, on whole sequences, with weights of which
each has a copy: gradients there are whole, too, and need no reduction.
"""

from typing import Any

import torch.nn.functional as F
from megatron.core import tensor_parallel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor


def scattered(x: Tensor, transformer: TransformerConfig) -> Tensor:
    """Return [s, b, h], alike on all ranks -> this rank's part, padded with zeros; its gradient is gathered."""
    if not transformer.sequence_parallel:
        return x
    missing = -len(x) % transformer.tensor_model_parallel_size
    return tensor_parallel.scatter_to_sequence_parallel_region(F.pad(x, (0, 0, 0, 0, 0, missing)))


def gathered(x: Tensor, length: int, transformer: TransformerConfig) -> Tensor:
    """Return the opposite: [length, b, h], alike on all ranks, whose gradients are alike, too: each keeps its part of it."""
    if not transformer.sequence_parallel:
        return x
    return tensor_parallel.gather_from_sequence_parallel_region(x, tensor_parallel_output_grad=False)[:length]


def unpadded(attention: type, length: int) -> type:
    """Return core attention over the first `length` keys and values; what queries beyond them find is not used."""

    class Unpadded(attention):
        def forward(self, query: Tensor, key: Tensor, value: Tensor, *words: Any, **named: Any) -> Tensor:
            return super().forward(query, key[:length], value[:length], *words, **named)

    return Unpadded
