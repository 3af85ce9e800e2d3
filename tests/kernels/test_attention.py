"""torch's attention against float64, forward and gradients, on odd sizes: causal, full, documents apart, in parts."""

from collections.abc import Sequence

import pytest
import torch
from megatron.core.transformer.enums import AttnMaskType
from torch import Tensor

from float64 import CONFIG, ERROR, close, gradients, random
from slipway.kernels import sizes, windows
from slipway.kernels.attention import TorchAttention, in_window
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


def in_band(length: int, window: int) -> Tensor:
    """[1, s, s], which query sees which key."""
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return ((distance >= 0) & (distance < window))[None]


@pytest.fixture(params=[1, 16], ids=["short stretches", "long stretches"])
def stretches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_QUERIES", request.param)


@pytest.mark.usefixtures("stretches")
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2)])
@pytest.mark.parametrize("window", [1, 2, 7, 13, 37, 38, 99])
def test_a_query_sees_the_keys_of_its_window(
    dtype: torch.dtype, heads: int, groups: int, window: int
) -> None:
    length = 38
    tensors = inputs(length, 3, heads, groups, dtype)
    got = in_window(window)(CONFIG, 1, AttnMaskType.causal, "self")(*tensors)
    compare(got, tensors, in_band(length, window))


@pytest.mark.usefixtures("stretches")
@pytest.mark.parametrize("window", [3, 12])
def test_documents_apart_in_a_window(window: int) -> None:
    length = 26
    starts = torch.tensor([starts_of(documents, length) for documents in DOCUMENTS])
    tensors = inputs(length, len(DOCUMENTS), 6, 2, torch.float32)
    attention = in_window(window)(CONFIG, 1, AttnMaskType.causal, "self")
    got = attention(*tensors, attention_mask=spans_of_samples(starts, 0, 1))
    compare(got, tensors, in_band(length, window) & (torch.arange(length) >= starts[:, :, None]))


@pytest.mark.usefixtures("stretches")
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("size", "rank"), [(2, 0), (2, 1), (3, 1)])
@pytest.mark.parametrize("window", [4, 20])
def test_one_ranks_share_of_a_sequence_in_a_window(window: int, apart: bool, size: int, rank: int) -> None:
    length, documents = 36, [0, 7, 8, 25]
    spans = (
        document_spans(documents, length // size, rank, size)
        if apart
        else causal_spans(length // size, rank, size)
    )
    tensors = inputs(length, 2, 6, 2, torch.float32)
    rows = local_positions(length // size, rank, size)
    q, k, v = (x.permute(1, 2, 0, 3) for x in (tensors[0][rows], *tensors[1:]))
    got = in_window(window)(CONFIG, 1, AttnMaskType.causal, "self")._over(spans, q, k, v)
    starts = torch.tensor(starts_of(documents if apart else [0], length))
    seen = in_band(length, window) & (torch.arange(length) >= starts[:, None])
    compare(got.permute(2, 0, 1, 3).flatten(2), tensors, seen, rows)


def test_a_cache_is_read_as_far_as_the_window_reaches() -> None:
    """One query after the other against all keys so far, as generation does it."""
    length, window = 20, 6
    q, k, v = inputs(length, 2, 6, 2, torch.float32)
    attention = in_window(window)(CONFIG, 1, AttnMaskType.causal, "self").eval()
    whole = attention(q, k, v)
    each = [attention(q[t : t + 1], k[: t + 1], v[: t + 1]) for t in range(length)]
    torch.testing.assert_close(torch.cat(each), whole, rtol=1e-5, atol=1e-6)


def test_no_stretch_reads_more_keys_than_its_own_and_those_of_the_window_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that time and masks grow with the window, not with the sequence."""
    monkeypatch.setattr(windows, "WINDOW_QUERIES", 8)
    read: list[tuple[int, int, bool]] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        read.append((q.shape[2], k.shape[2], mask is None))
        return q

    x = torch.randn(1, 1, 50, 4)
    assert windows.windowed(x, x, x, 10, attend).shape == x.shape
    assert read == [(10, 10, True), *[(10, 20, False)] * 4]
    pairs = sum(queries * keys // (2 if causal else 1) for queries, keys, causal in read)
    monkeypatch.setattr(sizes, "WINDOW_QUERIES", 8)
    assert sizes.window_pairs(50, 10) == pairs
