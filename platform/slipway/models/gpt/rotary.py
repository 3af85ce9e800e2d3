"""Frequencies of the rotary embedding, stretched for long contexts.

Megatron-core implements Llama 3's stretching with three of its four numbers fixed, and YaRN for its own kind of
position embedding, whose scale of queries and keys no fused kernel takes. So both are computed here, and set in the
embedding module that it already has; the scale is moved into the softmax's (`attention_scale`).
"""

from math import ceil, floor, log, pi
from typing import Any

import torch
from torch import Tensor

from slipway.models.gpt.fields.rotary import Llama3, Yarn


def stretch(embedding: Any, scaling: Llama3 | Yarn, base: float) -> None:
    """Set the stretched frequencies in a newly built RotaryEmbedding of Megatron-core."""
    old: Tensor = embedding.inv_freq
    embedding.inv_freq = frequencies(2 * len(old), base, scaling).to(old.device)


def frequencies(size: int, base: float, scaling: Llama3 | Yarn) -> Tensor:
    """Return the angles by which pairs of channels rotate from one token to the next, [size / 2], fp32, on the CPU.

    size: channels of a head that rotate. In fp32 throughout, like the code of those who published weights: angles are
    frequencies times positions, and at 100,000 tokens the last bit of a frequency is a hundredth of a turn.
    """
    with torch.device("cpu"):
        wavelengths = base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
        return (
            _llama3(wavelengths, scaling) if scaling.type == "llama3" else _yarn(wavelengths, base, scaling)
        )


def _llama3(wavelengths: Tensor, scaling: Llama3) -> Tensor:
    """Return Llama 3's frequencies. wavelengths: tokens per radian."""
    plain = 1.0 / wavelengths
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    length = scaling.original_max_position_embeddings
    tokens = 2 * pi / plain  # for a whole turn
    share = (length / tokens - low) / (high - low)
    between = (1 - share) * plain / scaling.factor + share * plain
    stretched = torch.where(tokens > length / low, plain / scaling.factor, plain)
    return torch.where((tokens >= length / high) & (tokens <= length / low), between, stretched)


def _yarn(wavelengths: Tensor, base: float, scaling: Yarn) -> Tensor:
    """Return YaRN's frequencies. wavelengths: tokens per radian."""
    size = 2 * len(wavelengths)

    def pair(turns: float) -> float:
        """Return the pair of channels that makes this many turns in the original context."""
        context = scaling.original_max_position_embeddings
        return size * log(context / (turns * 2 * pi)) / (2 * log(base))

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    if first == last:
        last += 0.001
    # rounds in the same order as the published code and transformers
    kept = 1 - ((torch.arange(len(wavelengths), dtype=torch.float32) - first) / (last - first)).clamp(0, 1)
    return 1.0 / (scaling.factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept
