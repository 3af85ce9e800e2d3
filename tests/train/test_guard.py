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


EVEN, UNEVEN = {"layer 0": 0.9, "layer 1": 0.9}, {"layer 0": 0.9, "layer 1": 0.05}


def watched(steps: int = 3, **settings: object) -> Guard:
    return Guard(
        Settings.model_validate(
            {"collapse_steps": steps, "collapse_evenness": 0.1, "spike_window": 8, **settings}
        )
    )


def test_a_load_that_stays_uneven_has_collapsed_and_is_told_once() -> None:
    judge = watched()
    between = {"layer 0": 0.9, "layer 1": 0.5}  # above what makes a collapse, below what ends one
    loads = [UNEVEN, UNEVEN, between, UNEVEN, UNEVEN, UNEVEN, between, EVEN, EVEN]
    verdicts = [judge.judge(step, 3.0, 1.0, load) for step, load in enumerate(loads, start=1)]
    assert {verdict.action for verdict in verdicts} == {"update"}
    told = [[event for event, _ in verdict.warnings] for verdict in verdicts]
    assert told == [[], [], [], [], [], ["collapse"], [], ["collapse over"], []]
    ((_, reason),) = verdicts[5].warnings
    assert "layer 1" in reason and "layer 0" not in reason and "0.050" in reason and "0.1" in reason


def test_a_collapse_stops_where_it_is_asked_to() -> None:
    judge = watched(on_collapse="stop")
    assert [judge.judge(step, 3.0, 1.0, UNEVEN).action for step in (1, 2, 3)] == ["update", "update", "stop"]
    assert "layer 1" in judge.judge(4, 3.0, 1.0, UNEVEN).reason


def test_a_collapse_is_ignored_where_it_is_asked_to() -> None:
    judge = watched(steps=1, on_collapse="ignore")
    assert judge.judge(1, 3.0, 1.0, UNEVEN) == ("update", "", ())
    assert judge.uneven == {}


def test_a_step_that_is_left_out_counts_for_no_collapse() -> None:
    judge = watched(steps=2, on_nonfinite="skip")
    judge.judge(1, 3.0, 1.0, UNEVEN)
    assert judge.judge(2, nan, 1.0, UNEVEN).action == "skip"
    assert judge.uneven == {"layer 1": 1}
    assert judge.judge(3, 3.0, 1.0, UNEVEN).warnings


def test_a_guard_that_has_gone_back_or_is_continued_counts_on() -> None:
    judge = watched()
    judge.judge(1, 3.0, 1.0, UNEVEN)
    again = Guard(judge.settings, list(judge.losses), dict(judge.uneven))
    judge.judge(2, 3.0, 1.0, UNEVEN)
    judge.recall([3.0], {"layer 1": 1})
    for one in (judge, again):
        assert not one.judge(2, 3.0, 1.0, UNEVEN).warnings
        assert one.judge(3, 3.0, 1.0, UNEVEN).warnings


def test_many_places_are_counted() -> None:
    judge = watched(steps=1)
    ((_, reason),) = judge.judge(1, 3.0, 1.0, {f"layer {n}": 0.0 for n in range(61)}).warnings
    assert "layer 7 and 53 more" in reason
