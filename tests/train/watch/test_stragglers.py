"""Slow ranks among their peers."""

import time

import pytest
import torch

from slipway.train.watch.stragglers import ForwardTimes, Straggler, stragglers, usual


def test_a_slow_rank_among_its_stage() -> None:
    seconds = [1.0, 1.1, 2.0, 5.0, 5.2, 9.0]
    assert stragglers(seconds, [0, 0, 0, 1, 1, 1], 1.5) == [
        Straggler(2, 2.0, 1.1),
        Straggler(5, 9.0, 5.2),
    ]


def test_stages_are_not_compared_with_each_other() -> None:
    assert stragglers([1.0, 9.0], [0, 1], 1.5) == []


def test_of_two_the_slower_one() -> None:
    assert [s.rank for s in stragglers([1.0, 2.0], [0, 0], 1.5)] == [1]


def test_the_mean_of_forward_passes_is_taken() -> None:
    times = ForwardTimes(torch.device("cpu"))
    step = times.timed(lambda seconds, factor: time.sleep(seconds) or factor)
    assert step(0.02, factor=3) == 3
    step(0.03, 1)
    assert times.take() == pytest.approx(0.025, abs=0.02)
    assert times.take() == 0.0


def test_one_bad_moment_makes_no_slow_rank() -> None:
    assert usual([1.0, 1.0, 3600.0, 1.0]) == 1.0
    assert usual([3.0, 3.0, 3.0]) == 3.0
    assert (usual([2.0, 4.0]), usual([2.0]), usual([])) == (3.0, 2.0, 0.0)
