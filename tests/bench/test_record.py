import json
from datetime import datetime

from slipway import __version__
from slipway.bench.record import publish, shown

ROWS = [
    {"layout": "TP1", "tokens/s": 12345.6, "steps": 20},
    {"layout": "[tp2]", "tokens/s": 0.98765, "steps": 1000},
]


def test_for_programs(capsys):
    publish("compare", ["--json", "two words"], ROWS, {"ratio": 0.95}, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["benchmark"] == "compare"
    assert record["command"] == "slipway bench compare --json 'two words'"
    assert datetime.fromisoformat(record["date"]).tzinfo is not None
    assert record["machine"]["cores"] >= 1 and record["machine"]["memory_gib"] > 0
    assert record["machine"]["processor"]
    assert record["versions"]["slipway"] == __version__
    assert {"python", "torch", "megatron-core"} <= set(record["versions"])
    assert (record["rows"], record["summary"]) == (ROWS, {"ratio": 0.95})


def test_for_people(capsys):
    publish("compare", [], ROWS, {"ratio": 0.95})
    out = capsys.readouterr().out
    for text in (
        "slipway bench compare",
        "megatron-core",
        "cores",
        "12,346",
        "0.9877",
        "[tp2]",
        "ratio: 0.95",
    ):
        assert text in out


def test_numbers_keep_four_digits():
    assert [shown(value) for value in (1234.5, 12.3456, 0.00012346, 1234567, "a")] == [
        "1,234",
        "12.35",
        "0.0001235",
        "1,234,567",
        "a",
    ]
