"""Every sample of a step is read by exactly one data-parallel rank, whatever the layout."""

from hypothesis import given
from hypothesis import strategies as st

from slipway.train.batches import sample_indices


@given(
    consumed=st.integers(0, 10**9),
    micro=st.integers(1, 5),
    microbatches=st.integers(1, 6),
    ranks=st.integers(1, 8),
)
def test_the_global_batch_is_covered_once(consumed: int, micro: int, microbatches: int, ranks: int) -> None:
    read = [
        index
        for rank in range(ranks)
        for of_one in sample_indices(consumed, micro, microbatches, rank, ranks)
        for index in of_one
    ]
    assert sorted(read) == list(range(consumed, consumed + micro * microbatches * ranks))


def test_microbatches_of_one_rank() -> None:
    assert sample_indices(100, 2, 2, 1, 2) == [[102, 103], [106, 107]]
