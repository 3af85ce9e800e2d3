"""Targets of each depth of multi-token prediction, against what is looked up token by token."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slipway.models.gpt.prediction import targets


@st.composite
def samples(draw) -> tuple[list[int], list[int], list[int]]:
    """Tokens, one more than places; which labels count; where each place's document begins."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    length = sum(lengths)
    tokens = draw(st.lists(st.integers(1, 99), min_size=length + 1, max_size=length + 1))
    counted = draw(st.lists(st.integers(0, 1), min_size=length, max_size=length))
    starts = [sum(lengths[:number]) for number, size in enumerate(lengths) for _ in range(size)]
    return tokens, counted, starts


@given(samples(), st.integers(1, 6), st.booleans())
def test_a_target_is_so_many_tokens_further_and_of_the_same_document(
    sample: tuple[list[int], list[int], list[int]], depths: int, apart: bool
) -> None:
    tokens, counted, starts = sample
    found, masks = targets.of_depths(
        torch.tensor([tokens[1:]]),
        torch.tensor([counted]).float(),
        torch.tensor([starts]) if apart else None,
        depths,
    )
    length = len(counted)
    assert found.shape == masks.shape == (1 + depths, 1, length)
    for depth in range(depths + 1):
        for place in range(length):
            behind = place + depth
            counts = behind < length and counted[behind] and (not apart or starts[behind] == starts[place])
            assert masks[depth, 0, place] == float(counts), (depth, place)
            if counts:
                assert found[depth, 0, place] == tokens[behind + 1], (depth, place)


def test_no_sample_sees_another() -> None:
    labels = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found, masks = targets.of_depths(labels, torch.ones(2, 3), None, 1)
    assert found[1].tolist() == [[2, 3, 0], [5, 6, 0]]
    assert masks[1].tolist() == [[1, 1, 0], [1, 1, 0]]


def summed(*losses: float) -> Tensor:
    return torch.tensor(losses, requires_grad=True)


def test_the_loss_is_the_models_own_and_the_weighted_mean_of_the_depths() -> None:
    """Divided by the model's own tokens (DeepSeek-V3, equations 24 and 25); told are means over each one's targets."""
    _, masks = targets.of_depths(torch.ones(1, 4, dtype=torch.long), torch.ones(1, 4), None, 2)
    sums = summed(8.0, 6.0, 5.0)
    total, tokens, told = targets.loss(masks, sums, 0.3)
    assert total.item() / tokens.item() == pytest.approx((8 + 0.3 * (6 + 5) / 2) / 4)
    assert {name: (pair[0] / pair[1]).item() for name, pair in told.items()} == pytest.approx(
        {"loss": 2.0, "mtp_1_loss": 2.0, "mtp_2_loss": 2.5}
    )
    total.backward()
    assert sums.grad is not None
    assert sums.grad.tolist() == pytest.approx([1.0, 0.15, 0.15])


def test_what_is_told_is_not_scaled_with_the_loss() -> None:
    sums = summed(8.0, 6.0)
    total, _, told = targets.loss(torch.ones(2, 1, 4), sums, 1.0)
    total.data.mul_(0.0)
    assert told["loss"][0] == 8.0
