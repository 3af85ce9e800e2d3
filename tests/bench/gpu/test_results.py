"""What a part finds is on disk at once, and amounts to a verdict."""

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.bench.gpu import results
from slipway.bench.gpu.results import Found, Goal, read, verdict


def test_each_addition_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    found = Found(path)
    assert read(path) is None
    found.check("it trains", True, "loss 3")
    assert read(path) == {
        **results.EMPTY,
        "checks": [{"what": "it trains", "found": "loss 3", "asked": "", "passed": True}],
    }
    found.row(model="demo", largest_difference=1e-6)
    found.goal("of the ceiling", 0.5, 0.6)
    found.note("a word")
    found.share("slipway", {"matmul": 1.0})
    plain = read(path)
    assert plain is not None
    assert plain["rows"] == [{"model": "demo", "largest difference": 1e-6}]
    assert (plain["notes"], plain["shares"]) == (["a word"], {"slipway": {"matmul": 1.0}})
    assert plain["goals"] == [{"what": "of the ceiling", "found": 0.5, "goal": 0.6}]
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_a_goal_is_reached_at_its_value() -> None:
    assert Goal("", 0.6, 0.6).reached and not Goal("", 0.59, 0.6).reached


@pytest.mark.parametrize("text", ["", "{", "null", "[]"])
def test_what_is_no_result_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "found.json").write_text(text)
    assert read(tmp_path / "found.json") is None


def found(*passed: bool, left_out: str | None = None) -> dict[str, Any]:
    return {**results.EMPTY, "checks": [{"passed": one} for one in passed], "left_out": left_out}


@pytest.mark.parametrize(
    ("code", "what", "cut", "expected"),
    [
        (0, found(True, True), False, "passed"),
        (0, found(True, False), False, "failed"),
        (1, found(True), False, "failed"),
        (0, found(), False, "failed"),  # nothing was looked at
        (0, None, False, "failed"),
        (0, found(left_out="too small"), False, "left out"),
        (1, found(left_out="too small"), False, "failed"),
        (None, found(True), False, "timed out"),
        (None, None, True, "cut off"),
    ],
)
def test_verdicts(code: int | None, what: dict[str, Any] | None, cut: bool, expected: str) -> None:
    assert verdict(code, what, cut=cut) == expected


def test_results_are_plain_json(tmp_path: Path) -> None:
    Found(tmp_path / "found.json").note("ünïcode")
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["notes"] == ["ünïcode"]
