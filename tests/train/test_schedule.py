"""The learning rate as a function of the step."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.optimizers.adamw.config import Config as Optimizer
from slipway.train.schedule import learning_rate


def test_warmup_then_cosine() -> None:
    settings = Optimizer(lr=1.0, min_lr=0.1, lr_warmup_steps=10)
    rates = [learning_rate(settings, step, 110) for step in (1, 5, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 0.55, 0.1])


def test_linear() -> None:
    settings = Optimizer(lr=1.0, lr_decay_style="linear")
    assert [learning_rate(settings, s, 10) for s in (1, 5, 10)] == pytest.approx([0.9, 0.5, 0.0])


def test_wsd_is_stable_then_decays_in_the_last_steps() -> None:
    settings = Optimizer(lr=1.0, lr_warmup_steps=2, lr_decay_style="WSD", lr_wsd_decay_steps=4)
    rates = [learning_rate(settings, step, 20) for step in (1, 2, 16, 17, 18, 20)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.0])


def test_constant() -> None:
    settings = Optimizer(lr=0.3, lr_decay_style="constant")
    assert {learning_rate(settings, step, 50) for step in range(1, 51)} == {0.3}


@given(
    style=st.sampled_from(["constant", "linear", "cosine", "WSD"]),
    warmup=st.integers(0, 50),
    steps=st.integers(60, 500),
)
def test_between_the_bounds_and_never_rising_after_warmup(style: Any, warmup: int, steps: int) -> None:
    settings = Optimizer(
        lr=1.0, min_lr=0.1, lr_warmup_steps=warmup, lr_decay_style=style, lr_wsd_decay_steps=9
    )
    rates = [learning_rate(settings, step, steps) for step in range(1, steps + 1)]
    assert all(0.0 < rate <= 1.0 for rate in rates)
    after = rates[max(0, warmup - 1) :]
    assert all(a >= b for a, b in zip(after, after[1:], strict=False))
    assert all(rate >= 0.1 - 1e-12 for rate in after)
