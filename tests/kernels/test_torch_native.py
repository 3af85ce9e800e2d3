"""The cut of a sequence over context-parallel ranks."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.kernels.torch_native import local_positions


@given(size=st.integers(1, 8), half=st.integers(1, 16))
def test_the_ranks_hold_every_position_once_and_equal_causal_work(size: int, half: int) -> None:
    length = 2 * half
    cuts = [local_positions(length, rank, size) for rank in range(size)]
    assert sorted(torch.cat(cuts).tolist()) == list(range(length * size))
    work = {int((cut + 1).sum()) for cut in cuts}  # position p attends to p + 1 others
    assert len(work) == 1
