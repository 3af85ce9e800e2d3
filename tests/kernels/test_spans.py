"""Spans of all ranks together are the causal mask, whole or document by document, and ranks work alike."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slipway.kernels.spans import Span, causal_spans, document_spans, local_positions, spans_of_samples


def seen(spans: list[Span], length: int, rows: int) -> Tensor:
    """[rows, length]: which of a rank's queries sees which key."""
    mask = torch.zeros(rows, length, dtype=torch.bool)
    following = 0
    for first, end, first_key, end_key in spans:
        assert first == following, "all queries, in their order"
        following = end
        for query in range(first, end):
            mask[query, first_key : end_key - (end - 1 - query)] = True
    assert following == rows
    return mask


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """Ranks, sequence length, and where documents begin."""
    size = draw(st.integers(1, 4))
    length = 2 * size * draw(st.integers(1, 12))
    starts = draw(st.sets(st.integers(0, length - 1)))
    return size, length, sorted({0, *starts})


@given(cases())
def test_spans_are_the_mask(case: tuple[int, int, list[int]]) -> None:
    size, length, documents = case
    causal = torch.ones(length, length).tril().bool()
    starts = torch.tensor([max(s for s in documents if s <= p) for p in range(length)])
    apart = causal & (torch.arange(length) >= starts[:, None])
    for rank in range(size):
        rows = local_positions(length // size, rank, size)
        share = length // size
        assert torch.equal(seen(causal_spans(share, rank, size), length, share), causal[rows])
        spans = document_spans(documents, share, rank, size)
        assert torch.equal(seen(spans, length, share), apart[rows])
        assert all(span.end_key - span.first_key >= span.end - span.first > 0 for span in spans)


@given(st.integers(1, 6), st.integers(1, 20))
def test_ranks_compute_alike(size: int, half: int) -> None:
    def area(rank: int) -> int:
        return sum((s.end - s.first) * (s.end_key - s.first_key) for s in causal_spans(2 * half, rank, size))

    assert len({area(rank) for rank in range(size)}) == 1


def test_samples_have_documents_of_their_own() -> None:
    starts = torch.tensor([[0, 0, 2, 2], [0, 0, 0, 3]])
    assert spans_of_samples(starts, 0, 1).tolist() == [
        [0, 0, 2, 0, 2],
        [0, 2, 4, 2, 4],
        [1, 0, 3, 0, 3],
        [1, 3, 4, 3, 4],
    ]
