"""The errors that docs/planner.md states; constants were fitted on the half `fit` alone."""

from functools import cache

import pytest

from published.evaluate import Outcome, errors, outcomes
from published.outliers import OUTLIERS

PAPERS = ("megatron-weak", "megatron-strong", "megatron-table5")
# the median of each source's rows, both halves, rounded up
MEDIANS = {
    "megatron-weak": 0.02,
    "megatron-strong": 0.02,
    "megatron-table5": 0.04,
    "llm-foundry": 0.03,
    "dgxc": 0.03,
    "bloom-prequel": 0.05,
    "bigscience-v100": 0.05,
    "torchtitan": 0.05,
    "simumax-b200": 0.04,
    "automodel": 0.07,
    "bridge-cards": 0.03,
    "mcore-moe": 0.02,
    "megatron-bridge": 0.13,
}


@cache
def found() -> tuple[Outcome, ...]:
    return tuple(outcomes())


def of(*sets: str) -> list[Outcome]:
    return [one for one in found() if one.case.row.text("set") in sets]


def test_the_papers_of_megatron_lm() -> None:
    """Ten rows of weak scaling, six of strong scaling, eight of sequence parallelism and recomputation."""
    reached = errors(of(*PAPERS))
    assert reached.rows == 24
    assert reached.mean < 0.04 and reached.worst < 0.1


@pytest.mark.parametrize("half", ["fit", "test"])
def test_all_rows(half: str) -> None:
    reached = errors(one for one in found() if one.case.row.half == half)
    assert reached.rows > 220
    assert reached.median < 0.04 and reached.within > 0.94


@pytest.mark.parametrize(("source", "median"), MEDIANS.items())
def test_each_source(source: str, median: float) -> None:
    assert errors(of(source)).median < median


def test_rows_far_off_are_named() -> None:
    far = {one.case.row.name for one in found() if abs(one.error) > 0.2}
    assert far == set(OUTLIERS)


def test_parts_are_the_whole_and_none_is_negative() -> None:
    for one in found():
        assert min(one.step.parts.values()) >= 0, one.case.row.name
        assert one.step.parts["products"] > 0
