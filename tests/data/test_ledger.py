"""The position in the data: nothing is repeated and nothing lost, however batches and weights change."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusals import refused
from slipway.data.ledger import DataLedger, Draw

blends = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 100), min_size=1)
sizes = st.lists(st.integers(0, 40), max_size=12)


def facts(names: Any, **changes: Any) -> dict[str, dict[str, Any]]:
    return {name: {"length": 16, "checksum": "0" * 64, **changes} for name in names}


def begin(weights: dict[str, float]) -> DataLedger:
    return DataLedger.begin(5, weights, facts(weights))


@given(weights=blends, sizes=sizes)
def test_any_cut_gives_the_same_sequence(weights: dict[str, float], sizes: list[int]) -> None:
    data, drawn = begin(weights), []
    for size in sizes:
        drawn += data.draw(size)
        data = data.advance(size)
    assert drawn == begin(weights).draw(sum(sizes))
    assert data == begin(weights).advance(sum(sizes))
    assert data.total == sum(sizes)


@given(segments=st.lists(st.tuples(blends, sizes, st.booleans()), min_size=1, max_size=6))
def test_nothing_is_repeated_and_nothing_lost(
    segments: list[tuple[dict[str, float], list[int], bool]],
) -> None:
    """Any blends, sources that go and come back, any batch sizes, with and without a checkpoint in between."""
    data, drawn = begin(segments[0][0]), []
    for weights, sizes, saved in segments:
        if saved:
            data = DataLedger.model_validate_json(data.model_dump_json())
        data = data.resume(5, weights, facts(weights))
        for size in sizes:
            drawn += data.draw(size)
            data = data.advance(size)
    for source in {name for weights, _, _ in segments for name in weights}:
        numbers = [draw.number for draw in drawn if draw.source == source]
        assert numbers == list(range(len(numbers)))
        assert data.consumed.get(source, 0) == len(numbers)
    assert data.total == len(drawn)
    assert data.facts == facts(data.facts)


@given(weights=blends, samples=st.integers(1, 2000))
def test_shares_follow_the_weights(weights: dict[str, float], samples: int) -> None:
    consumed = begin(weights).advance(samples).consumed
    for name, weight in weights.items():
        expected = samples * weight / sum(weights.values())
        # at most one sample off, but for rounding borders of several sources that meet
        assert abs(consumed[name] - expected) < max(1.0, len(weights) / 2)


@given(weights=blends, sizes=sizes)
def test_json(weights: dict[str, float], sizes: list[int]) -> None:
    data = begin(weights).advance(sum(sizes)).resume(5, {"a": 1, "z": 2}, facts("az"), {"a": [1, 2]})
    read = DataLedger.model_validate_json(data.model_dump_json())
    assert read == data and read.draw(50) == data.draw(50)


def test_the_order_never_changes() -> None:
    """What a checkpoint's position means to another version."""
    names = "".join(source for source, _ in begin({"b": 1, "a": 3, "c": 0.5}).draw(18))
    assert names == "aabacaabaaabacaaba"
    assert begin({"a": 3, "b": 1}).draw(3) == [Draw("a", 0), Draw("a", 1), Draw("b", 0)]


def test_what_does_not_change_the_blend() -> None:
    data = begin({"a": 1, "b": 3}).advance(10)
    assert data.resume(5, {"b": 0.3, "a": 0.1}, facts("ab")) == data
    assert not data.change and len(data.phases) == 1


def test_a_change_is_said_until_something_is_drawn() -> None:
    data = begin({"a": 1, "b": 1}).advance(10).resume(5, {"a": 1, "c": 4}, facts("ac"))
    assert data.change == "a 0.5 -> 0.2, b 0.5 -> 0, c 0 -> 0.8"
    assert data.weights == {"a": 0.2, "c": 0.8} and data.consumed == {"a": 5, "b": 5, "c": 0}
    assert not data.advance(1).change
    # taken back before anything was drawn with it
    assert data.resume(5, {"a": 1, "b": 1}, facts("ab")).phases == begin({"a": 1, "b": 1}).advance(10).phases


def test_another_blend_before_the_first_sample_leaves_no_trace() -> None:
    assert begin({"a": 1}).resume(5, {"a": 1, "b": 1}, facts("ab")) == begin({"a": 1, "b": 1})


def test_signatures_are_taken_over() -> None:
    data = DataLedger.begin(5, {"a": 1, "b": 1}, facts("ab"), {"a": [1, 10], "b": [2, 20]})
    assert data.resume(5, {"a": 1}, facts("a"), {"a": [1, 11]}).signatures == {"a": [1, 11], "b": [2, 20]}


@pytest.mark.parametrize(
    ("changed", "path", "expected"),
    [
        (dict(seed=6), "training.seed", (6, 5)),
        (dict(length=32), "data.sources.a", ("length", 32, 16)),
        (dict(checksum="f" * 64), "data.sources.a", ("checksum", "f" * 12, "0" * 12)),
        (dict(more=[1, 2]), "data.sources.a", ("more", "[1, 2]", "null")),
    ],
)
def test_what_must_not_change(changed: dict[str, Any], path: str, expected: tuple[object, ...]) -> None:
    data = begin({"a": 1, "b": 1}).advance(10).resume(5, {"b": 1}, facts("b")).advance(10)
    seed = changed.pop("seed", 5)
    with refused(path, *expected, use="run.dir"):
        data.resume(seed, {"b": 1, "a": 1}, {**facts("a", **changed), **facts("b")})
