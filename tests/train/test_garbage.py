"""Garbage is collected after the steps that all ranks agree on, and at no other moment."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from slipway.train.garbage import Garbage


class Circle:
    """Refers to itself: only the collector can remove it."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.enable()


def left_behind() -> weakref.ref:
    return weakref.ref(Circle())


def many_objects() -> None:
    """More than Python's own collector lets pass in any generation."""
    kept = [[] for _ in range(gc.get_threshold()[0] * 30)]
    assert kept


def test_it_waits_for_its_step(collector: None) -> None:
    garbage = Garbage(3)
    circle = left_behind()
    for step in (1, 2):
        many_objects()
        garbage.after(step)
        assert circle() is not None
    garbage.after(3)
    assert circle() is None
    garbage.close()
    assert gc.isenabled()


def test_without_an_interval_python_collects(collector: None) -> None:
    garbage = Garbage(0)
    gc.collect()
    circle = left_behind()
    for _ in range(200):  # how soon depends on what else is alive
        many_objects()
        garbage.after(1)
        if circle() is None:
            break
    assert circle() is None and gc.isenabled()
