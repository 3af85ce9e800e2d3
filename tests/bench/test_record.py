import json
from dataclasses import asdict, dataclass
from datetime import datetime

from slipway import __version__
from slipway.bench.record import named, publish, shown


@dataclass(frozen=True)
class Row:
    layout: str
    stage: int | None
    units_per_second: float = named("{units}/s")
    shares: dict[str, float] = named("{key} (%)")
    steps: int = 20


@dataclass(frozen=True)
class Summary:
    ratio: float
    left_out: dict[str, str] = named("left out ({key})")


ROWS = [Row("TP1", None, 12345.6, {"matmul": 0.5}), Row("[tp2]", None, 0.98765, {"matmul": 0.25}, 1000)]
SUMMARY = Summary(0.95, {"no GPU": "adamw"})


def test_for_programs(capsys):
    publish("compare", ["--json", "two words"], ROWS, SUMMARY, units="images", as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["benchmark"] == "compare"
    assert record["command"] == "slipway bench compare --json 'two words'"
    assert datetime.fromisoformat(record["date"]).tzinfo is not None
    assert record["machine"]["cores"] >= 1 and record["machine"]["memory_gib"] > 0
    assert record["machine"]["processor"]
    assert record["versions"]["slipway"] == __version__
    assert {"python", "torch", "megatron-core"} <= set(record["versions"])
    assert (record["rows"], record["summary"]) == ([asdict(row) for row in ROWS], asdict(SUMMARY))
    assert record["units"] == "images"


def test_for_people(capsys):
    publish("compare", [], ROWS, SUMMARY, units="images")
    out = capsys.readouterr().out
    for text in (
        "slipway bench compare",
        "megatron-core",
        "cores",
        "12,346",
        "0.9877",
        "[tp2]",
        "ratio: 0.95",
        "images/s",
        "matmul (%)",
        "left out (no GPU): adamw",
    ):
        assert text in out
    assert "stage" not in out  # nothing is recorded there


def test_numbers_keep_four_digits():
    assert [shown(value) for value in (1234.5, 12.3456, 0.00012346, 1234567, "a")] == [
        "1,234",
        "12.35",
        "0.0001235",
        "1,234,567",
        "a",
    ]
