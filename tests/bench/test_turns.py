"""Workers answer, and say why they do not."""

import os
import time

import psutil
import pytest

from refusals import refused
from slipway.bench.gpu.dense import ratio
from slipway.bench.gpu.trainers import LEAST_ROUNDS, MOST_ROUNDS, in_turn
from slipway.bench.turns import Worker
from slipway.errors import Fault


def build(value: int) -> dict[str, int]:
    if value < 0:
        raise ValueError("nothing below 0")
    return {"value": value, "pid": os.getpid()}


def add(built: dict[str, int], more: int) -> int:
    return built["value"] + more


def pid(built: dict[str, int]) -> int:
    return built["pid"]


def end(built: dict[str, int]) -> None:
    os._exit(5)


def test_a_worker_answers_about_what_it_has_built() -> None:
    worker = Worker("one", build, 40)
    worker.ready()
    assert worker.ask(add, 2) == 42 and worker.ask(add, 3) == 43
    number = worker.ask(pid)
    assert number != os.getpid()
    worker.close()
    assert not psutil.pid_exists(number)


def test_what_fails_there_is_a_fault_here() -> None:
    worker = Worker("one", build, -1)
    with refused("one", "ValueError", kind=Fault):
        worker.ready()
    worker = Worker("two", build, 1)
    worker.ready()
    with refused("two", 5, kind=Fault):
        worker.ask(end)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, LEAST_ROUNDS), (60, MOST_ROUNDS)])
def test_turns_alternate_and_the_first_does_not_count(seconds: float, rounds: int) -> None:
    asked: list[str] = []

    def ask(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    found = in_turn({"a": lambda: ask("a"), "b": lambda: ask("b")}, seconds)
    assert asked == ["a", "b"] * (rounds + 1)
    assert found["a"] == [float(2 * turn + 1) for turn in range(1, rounds + 1)]


def test_turns_end_when_their_time_is_over() -> None:
    found = in_turn({"a": lambda: time.sleep(0.05) or 1.0}, 0.22)
    assert LEAST_ROUNDS <= len(found["a"]) < MOST_ROUNDS


def test_a_turn_is_compared_with_its_neighbour() -> None:
    assert ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]) == 2.0
