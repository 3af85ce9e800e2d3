"""The range of keys that a range of queries may see: causal, over context-parallel ranks, with separate documents.

Attention over a few dense ranges needs no mask, so that flash kernels support it; what no query sees is not computed.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Span(NamedTuple):
    """Queries first ... end - 1 of a rank, contiguous in the sequence, and the keys first_key ... end_key - 1 they see.

    The last query sees all of these keys, each query before it one key less.
    """

    first: int
    end: int
    first_key: int
    end_key: int


def local_positions(length: int, rank: int, size: int, device: torch.device | None = None) -> Tensor:
    """Return the positions in the whole sequence of one context-parallel rank's `length` tokens, [length]."""
    stretches = [
        torch.arange(position, position + end - first, device=device)
        for first, end, position in _stretches(length, rank, size)
    ]
    return torch.cat(stretches)


def causal_spans(length: int, rank: int, size: int) -> list[Span]:
    """Return the spans of one rank's `length` tokens, in order: every token sees itself and all before it."""
    return [
        Span(first, end, 0, position + end - first) for first, end, position in _stretches(length, rank, size)
    ]


def document_spans(documents: Sequence[int], length: int, rank: int, size: int) -> list[Span]:
    """Return the spans of one rank's tokens if each sees only its document; documents: their starts, the first at 0.

    The starts ascend.
    """
    spans = []
    for first, end, position in _stretches(length, rank, size):
        stop = position + end - first
        begun = max(start for start in documents if start <= position)
        starts = [begun, *(start for start in documents if position < start < stop), stop]
        for start, until in pairwise(starts):
            begin = max(start, position)  # a document may begin in an earlier range
            spans.append(Span(first + begin - position, first + until - position, start, until))
    return spans


def spans_of_samples(document_starts: Tensor, rank: int, size: int) -> Tensor:
    """Return document_spans of a microbatch, [spans, 5]: the sample, and its span. On the CPU, like its argument.

    document_starts: [b, sequence], for every token the position of its document's first token.
    """
    length = document_starts.shape[1]
    is_start = document_starts == torch.arange(length)
    rows = [
        (sample, *span)
        for sample, row in enumerate(is_start)
        for span in document_spans(row.nonzero()[:, 0].tolist(), length // size, rank, size)
    ]
    return torch.tensor(rows)


def attended_share(document_starts: Tensor, windows: Sequence[int | None] = (None,)) -> Tensor:
    """Return [sum, samples], fp64, of the share of attention that is computed with separate documents.

    In each sample of s tokens that is the sum of d x min(d, w) over its documents of d tokens and all layers, divided
    by the sum of s x min(s, w) over the layers. windows: w of each layer, in tokens; None: no window, so that the share
    is the sum of d^2 / s^2. document_starts: see spans_of_samples. On the CPU, like its argument.
    """
    samples, length = document_starts.shape
    lengths = torch.zeros_like(document_starts).scatter_add_(
        1, document_starts, torch.ones_like(document_starts)
    )
    own = lengths.gather(1, document_starts)  # the length of each token's document
    layers = Counter(min(length, window or length) for window in windows)
    pairs = sum(count * int(own.clamp(max=window).sum()) for window, count in layers.items())
    whole = length * sum(count * window for window, count in layers.items())
    return torch.tensor([pairs / whole, samples], dtype=torch.float64)


def _stretches(length: int, rank: int, size: int) -> list[tuple[int, int, int]]:
    """Return (first, end, position of the first in the sequence) of each contiguous range of a rank's tokens.

    The sequence is cut into 2 x size chunks, and rank r holds chunks r and 2 x size - 1 - r, so that causal attention
    costs the same on every rank.
    """
    if size == 1:
        return [(0, length, 0)]
    half = length // 2
    return [(0, half, rank * half), (half, length, (2 * size - 1 - rank) * half)]
