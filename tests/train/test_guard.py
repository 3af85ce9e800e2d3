"""The verdict on a batch, from numbers that every rank has."""

from math import inf, nan

import pytest

from slipway.config.watch import Guard as Settings
from slipway.train.guard import Guard

STEADY = [3.0, 3.1, 2.9, 3.05, 2.95, 3.02, 2.98, 3.0]  # median 3.0, deviation 1.4826 x 0.035


def guard(**settings: object) -> Guard:
    return Guard(Settings.model_validate({"spike_window": 8, **settings}), STEADY)


@pytest.mark.parametrize("policy", ["stop", "skip", "rollback"])
@pytest.mark.parametrize(("loss", "norm"), [(nan, 1.0), (inf, 1.0), (3.0, nan), (3.0, inf)])
def test_not_finite(policy: str, loss: float, norm: float) -> None:
    verdict = guard(on_nonfinite=policy).judge(9, loss, norm)
    assert verdict.action == policy
    assert verdict.reason == f"loss {loss:g}, gradient norm {norm:g}"


@pytest.mark.parametrize("policy", ["stop", "skip", "rollback"])
def test_a_spike(policy: str) -> None:
    judge = guard(on_spike=policy).judge(9, 4.0, 1.0)
    assert judge.action == policy
    assert judge.reason.startswith("loss 4.0000 is above 3.5")
    assert "median 3.0000 + 10 x deviation 0.05" in judge.reason


def test_a_spike_is_ignored_by_default_and_a_drop_is_none() -> None:
    assert guard().judge(9, 400.0, 1.0).action == "update"
    assert guard(on_spike="skip").judge(9, 0.1, 1.0).action == "update"


def test_too_few_losses_are_no_ground_to_judge() -> None:
    fresh = Guard(Settings(spike_window=8, on_spike="skip"), STEADY[:7])
    assert fresh.judge(8, 400.0, 1.0).action == "update"
    assert fresh.judge(9, 4000.0, 1.0).action == "skip"


def test_a_spike_left_out_does_not_become_the_measure() -> None:
    judge = guard(on_spike="skip")
    for step in range(9, 13):
        assert judge.judge(step, 4.0, 1.0).action == "skip"
    assert list(judge.losses) == STEADY


def test_more_than_the_limit_stops() -> None:
    judge = guard(on_nonfinite="skip", limit=2)
    assert [judge.judge(step, nan, 1.0).action for step in (9, 10, 11)] == ["skip", "skip", "stop"]
    assert "guard.limit: 2 batches" in judge.judge(11, nan, 1.0).reason
    assert judge.judge(17, nan, 1.0).action == "skip"  # the window has passed the first


def test_a_continued_guard_judges_as_the_undisturbed_one() -> None:
    whole = guard(on_spike="skip")
    losses = [3.01, 2.97, 5.0, 3.03, 2.99]
    expected = [whole.judge(9 + i, loss, 1.0) for i, loss in enumerate(losses)]
    half = guard(on_spike="skip")
    first = [half.judge(9 + i, loss, 1.0) for i, loss in enumerate(losses[:2])]
    again = Guard(half.settings, list(half.losses))
    assert first + [again.judge(11 + i, loss, 1.0) for i, loss in enumerate(losses[2:])] == expected
