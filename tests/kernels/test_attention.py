"""torch's attention against float64, forward and gradients, on odd sizes: causal, full, documents apart, in parts."""

from collections.abc import Sequence

import pytest
import torch
from megatron.core.transformer.enums import AttnMaskType
from torch import Tensor

from float64 import CONFIG, ERROR, close, gradients, random
from slipway.kernels.attention import TorchAttention
from slipway.kernels.spans import causal_spans, document_spans, local_positions, spans_of_samples

SIZE = 24  # of a head


def inputs(length: int, batch: int, heads: int, groups: int, dtype: torch.dtype) -> list[Tensor]:
    return [
        random(length, batch, count, SIZE, dtype=dtype, seed=seed)
        for seed, count in enumerate((heads, groups, groups))
    ]


def reference(tensors: Sequence[Tensor], seen: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Output [s, b, n * d] in float64 and what it was made from; seen: [b or 1, s, s], which query sees which key."""
    wide = [x.detach().double().requires_grad_() for x in tensors]
    q, k, v = (x.permute(1, 2, 0, 3) for x in wide)
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = (q @ k.transpose(-1, -2) / SIZE**0.5).masked_fill(~seen[:, None], float("-inf"))
    return (scores.softmax(-1) @ v).permute(2, 0, 1, 3).flatten(2), wide


def compare(got: Tensor, tensors: Sequence[Tensor], seen: Tensor, rows: Tensor | None = None) -> None:
    """rows: the queries that `got` holds; all where None."""
    expected, wide = reference(tensors, seen)
    if rows is not None:
        expected = expected[rows]
    dtype = tensors[0].dtype
    close(got, expected, dtype)
    for ours, theirs in zip(gradients(got, list(tensors)), gradients(expected, wide), strict=True):
        if theirs.abs().max() > 1e-9:  # of one key the scores have no gradient
            close(ours, theirs, dtype)


def causal(length: int) -> Tensor:
    return torch.ones(1, length, length).tril().bool()


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (5, 1)])
@pytest.mark.parametrize("mask", [AttnMaskType.causal, AttnMaskType.no_mask])
@pytest.mark.parametrize("length", [1, 13, 64])
def test_attention(dtype: torch.dtype, heads: int, groups: int, mask: AttnMaskType, length: int) -> None:
    tensors = inputs(length, 3, heads, groups, dtype)
    got = TorchAttention(CONFIG, 1, mask, "self")(*tensors)
    seen = causal(length)
    compare(got, tensors, seen if mask is AttnMaskType.causal else torch.ones_like(seen))


# of each sample of a microbatch, where its documents begin
DOCUMENTS = [[0, 1, 14], [0], [0, 25]]


def starts_of(documents: list[int], length: int) -> list[int]:
    return [max(start for start in documents if start <= position) for position in range(length)]


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2)])
def test_documents_apart(dtype: torch.dtype, heads: int, groups: int) -> None:
    length = 26
    starts = torch.tensor([starts_of(documents, length) for documents in DOCUMENTS])
    tensors = inputs(length, len(DOCUMENTS), heads, groups, dtype)
    attention = TorchAttention(CONFIG, 1, AttnMaskType.causal, "self")
    got = attention(*tensors, attention_mask=spans_of_samples(starts, 0, 1))
    compare(got, tensors, causal(length) & (torch.arange(length) >= starts[:, :, None]))


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("size", "rank"), [(2, 0), (2, 1), (3, 1)])
def test_one_ranks_share_of_a_sequence(dtype: torch.dtype, apart: bool, size: int, rank: int) -> None:
    """Of context parallelism: its queries against the keys of all ranks."""
    length, documents = 36, [0, 7, 8, 25]
    spans = (
        document_spans(documents, length // size, rank, size)
        if apart
        else causal_spans(length // size, rank, size)
    )
    tensors = inputs(length, 2, 6, 2, dtype)
    rows = local_positions(length // size, rank, size)
    q, k, v = (x.permute(1, 2, 0, 3) for x in (tensors[0][rows], *tensors[1:]))
    got = TorchAttention(CONFIG, 1, AttnMaskType.causal, "self")._over(spans, q, k, v)
    starts = torch.tensor(starts_of(documents if apart else [0], length))
    seen = causal(length) & (torch.arange(length) >= starts[:, None])
    compare(got.permute(2, 0, 1, 3).flatten(2), tensors, seen, rows)
