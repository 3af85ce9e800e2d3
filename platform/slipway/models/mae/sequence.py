"""Sequences that sequence parallelism splits over tensor-parallel ranks, padded if they do not divide.

Outside of transformer blocks all tensor-parallel ranks compute the same, on whole sequences, with weights of which each
has a copy: gradients there are whole as well, and need no reduction.
"""

from typing import Any

import torch.nn.functional as F
from megatron.core import tensor_parallel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor


def scattered(x: Tensor, transformer: TransformerConfig) -> Tensor:
    """Return this rank's part of x [s, b, h], which is equal on all ranks and padded with zeros.

    Its gradient is gathered.
    """
    if not transformer.sequence_parallel:
        return x
    missing = -len(x) % transformer.tensor_model_parallel_size
    return tensor_parallel.scatter_to_sequence_parallel_region(F.pad(x, (0, 0, 0, 0, 0, missing)))


def gathered(x: Tensor, length: int, transformer: TransformerConfig) -> Tensor:
    """Return the whole [length, b, h] of the ranks' parts [s, b, h], without padding.

    The gradients are equal on all ranks, too, so that each keeps its part.
    """
    if not transformer.sequence_parallel:
        return x
    return tensor_parallel.gather_from_sequence_parallel_region(x, tensor_parallel_output_grad=False)[:length]


def unpadded(attention: type, length: int) -> type:
    """Return a class of core attention over the first `length` keys and values.

    The results of later queries are not used.
    """

    class Unpadded(attention):
        def forward(self, query: Tensor, key: Tensor, value: Tensor, *words: Any, **named: Any) -> Tensor:
            return super().forward(query, key[:length], value[:length], *words, **named)

    return Unpadded
