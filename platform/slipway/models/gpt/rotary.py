"""Frequencies of the rotary embedding that are stretched for long contexts.

Megatron-core has Llama 3's stretching with three of its four numbers fixed, and YaRN for its own kind of position
embedding, whose scale of queries and keys no fused kernel takes. So both are computed here, and handed to the layer
that it has anyway; the scale is put into softmax's (`attention_scale`).
"""

from math import ceil, floor, log, pi
from typing import Any

import torch
from torch import Tensor

from slipway.models.gpt.fields.rotary import Llama3, Yarn


def stretch(embedding: Any, scaling: Llama3 | Yarn, base: float) -> None:
    """Give a RotaryEmbedding of Megatron-core, newly built, the stretched frequencies."""
    old: Tensor = embedding.inv_freq
    embedding.inv_freq = frequencies(2 * len(old), base, scaling).to(old.device)


def frequencies(size: int, base: float, scaling: Llama3 | Yarn) -> Tensor:
    """Return angles by which pairs of channels turn from one token to the next, [size / 2], fp32, on the CPU.

    size: channels of a head that turn. In fp32 throughout, as those have it who published weights: angles are
    frequencies times positions, and at 100,000 tokens the last bit of a frequency is a hundredth of a turn.
    """
    with torch.device("cpu"):
        wavelengths = base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
        return (
            _llama3(wavelengths, scaling) if scaling.type == "llama3" else _yarn(wavelengths, base, scaling)
        )


def _llama3(wavelengths: Tensor, scaling: Llama3) -> Tensor:
    """Return wavelengths: tokens per radian."""
    plain = 1.0 / wavelengths
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    length = scaling.original_max_position_embeddings
    tokens = 2 * pi / plain  # of a whole turn
    share = (length / tokens - low) / (high - low)
    between = (1 - share) * plain / scaling.factor + share * plain
    stretched = torch.where(tokens > length / low, plain / scaling.factor, plain)
    return torch.where((tokens >= length / high) & (tokens <= length / low), between, stretched)


def _yarn(wavelengths: Tensor, base: float, scaling: Yarn) -> Tensor:
    """Return wavelengths: tokens per radian."""
    size = 2 * len(wavelengths)

    def pair(turns: float) -> float:
        """Return the pair of channels that turns so often in the original context."""
        context = scaling.original_max_position_embeddings
        return size * log(context / (turns * 2 * pi)) / (2 * log(base))

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    if first == last:
        last += 0.001
    # this order of roundings is that of the published code, and of transformers
    kept = 1 - ((torch.arange(len(wavelengths), dtype=torch.float32) - first) / (last - first)).clamp(0, 1)
    return 1.0 / (scaling.factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept
