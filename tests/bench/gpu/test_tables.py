"""The record of all parts as text, as Markdown and as a picture."""

from pathlib import Path
from typing import Any

import pytest

from slipway.bench.gpu import results
from slipway.bench.gpu.command import exit_code
from slipway.bench.gpu.device import Here
from slipway.bench.gpu.picture import draw
from slipway.bench.gpu.tables import markdown, record_of, summary
from slipway.metrics.step_time import KINDS

HERE = Here("cuda", "GPU X", 2, 79.6, "570.1", {"slipway": "1.0", "torch": "2.9.0"})
RATE = {"tokens/s, median": 51234.5, "share of the matmul ceiling": 0.612}


def part(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    common = {"part": name, "shows": "something", "verdict": verdict, "trouble": None, "seconds": 12.3}
    return {
        **common,
        "limit_s": 60,
        "date": "2026-12-01T10:00:00+00:00",
        "device": {},
        **results.EMPTY,
        **more,
    }


PARTS = [
    part(
        "kernels",
        "failed",
        checks=[
            {"what": "norm te", "found": "1e-1", "asked": "1e-5", "passed": False},
            {"what": "norm torch", "found": "1e-7", "asked": "1e-5", "passed": True},
        ],
        rows=[{"operator": "norm", "backend": "te", "fp32": 0.1}, {"operator": "norm", "bf16": 1e-3}],
    ),
    part(
        "gpt-2048",
        "passed",
        checks=[{"what": "it trains", "found": "", "asked": "", "passed": True}],
        rows=[{"trainer": "slipway", **RATE}, {"trainer": "torch.compile", **RATE}],
        goals=[
            {"what": "of the ceiling", "found": 0.612, "goal": 0.6},
            {"what": "of torch.compile", "found": 1.01, "goal": 1.05},
        ],
        shares={"slipway": dict.fromkeys(KINDS, 1 / len(KINDS))},
        notes=["24 | 24 layers"],
    ),
    part("layouts", "left out", trouble="it needs 2 devices, here is 1", seconds=0.0),
]


@pytest.fixture
def record() -> dict[str, Any]:
    return record_of(HERE, PARTS, ["slipway", "bench", "gpu", "--out", "two words"])


def test_the_table_says_with_what_when_and_how(record: dict[str, Any]) -> None:
    text = markdown(record)
    for fact in ("2 x GPU X", "79.6 GiB", "driver 570.1", "torch 2.9.0", "2026-12-01", "--out 'two words'"):
        assert fact in text.split("\n\n")[1]
    assert "| norm | te | 0.1 |  |" in text and "| norm |  |  | 0.001 |" in text
    assert "51,234" in text or "51,235" in text


def test_goals_are_told_as_reached_or_not(record: dict[str, Any]) -> None:
    lines = [line for line in markdown(record).splitlines() if line.startswith("| gpt-2048: ")]
    assert [line.split("|")[-2].strip() for line in lines] == ["reached", "not reached"]
    told = [line for line in summary(record).splitlines() if line.startswith("gpt-2048: ")]
    assert [line.rpartition(": ")[2] for line in told] == ["reached", "not reached"]


def test_what_did_not_hold_is_told(record: dict[str, Any]) -> None:
    text = summary(record)
    assert "norm te: 1e-1 (asked: 1e-5)" in text and "norm torch" not in text
    assert "1 of 2 checks" in text and "it needs 2 devices" in text


def test_a_rehearsal_is_called_one() -> None:
    here = Here("cpu", "CPU (rehearsal)", 2, 0.5, None, {})
    assert "no figure means anything" in markdown(record_of(here, PARTS, ["slipway"]))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_picture_is_drawn_however_little_there_is(count: int, tmp_path: Path) -> None:
    draw(record_of(HERE, PARTS[:count], ["slipway"]), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["passed", "left out"], 0),
        (["passed", "failed", "not begun"], 1),
        (["timed out"], 1),
        (["passed", "not begun"], 75),
        (["cut off"], 75),
    ],
)
def test_the_exit_code(verdicts: list[str], code: int) -> None:
    assert exit_code(verdicts) == code
