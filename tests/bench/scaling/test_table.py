import json
from pathlib import Path
from typing import Any

import pytest

from refusals import refused
from scaling import MINUTES, measured, written
from slipway.bench.scaling import table
from slipway.bench.scaling.arithmetic import Timing, efficiency
from slipway.bench.scaling.sizes import STRONG, WEAK


def test_published_times_as_a_table() -> None:
    rows = table.rows_of(measured({devices: (minutes,) for devices, minutes in MINUTES.items()}))
    assert [row.devices for row in rows] == list(MINUTES)
    assert [row.nodes for row in rows] == [1, 1, 1, 2, 4, 8, 16]
    last = rows[-1]
    assert (round(last.speed_up, 1), last.ideal_speed_up, round(last.efficiency, 2)) == (28.7, 64, 0.45)
    assert (last.efficiency_low, last.repeats, last.layout) == (None, 1, "DP64")
    assert last.units_per_second == pytest.approx(last.global_batch_size * 2048 / last.step_s)


def test_repeats_and_both_scalings() -> None:
    times = {1: (4.0, 4.4), 2: (2.0, 2.2), 4: (1.5, 1.65)}
    found = measured(times, scalings=(STRONG, WEAK))
    rows = table.rows_of(found)
    assert [(row.scaling, row.devices) for row in rows] == [(s, n) for s in (STRONG, WEAK) for n in times]
    strong, weak = rows[1], rows[4]
    assert (strong.speed_up, strong.efficiency) == (pytest.approx(2), pytest.approx(1))
    assert weak.global_batch_size == 2 * strong.global_batch_size
    assert weak.speed_up == pytest.approx(4)  # twice the samples in half the time
    expected = efficiency(Timing(1, times[1]), Timing(4, times[4]))
    assert (rows[2].efficiency_low, rows[2].efficiency_high) == (expected.low, expected.high)
    for row in rows:
        assert sum(row.step_seconds.values()) == pytest.approx(row.step_s)
        assert table.shares(row)["communication"] == pytest.approx(0.25)
        # FLOP of a step are the same in every repeat
        assert row.tflops_per_device == pytest.approx(100 / row.step_s)


def test_the_smallest_size_that_is_there_is_the_base() -> None:
    found = measured({2: (3.0,), 8: (1.0,)})
    assert [row.ideal_speed_up for row in table.rows_of(found)] == [1, 4]
    assert [row.efficiency for row in table.rows_of(found[1:])] == [1]


def test_more_ranks_than_cores_are_remarked() -> None:
    found = measured({1: (3.0,), 4: (1.0,)})
    assert table.remark(found, None) is None
    assert table.remark(found, 12) is None
    said = table.remark(found, 13)
    assert said is not None and "4 ranks x 13 threads" in said and "48 cores" in said


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = table.read(written(tmp_path))
    assert (found.units, found.summary.cluster) == ("tokens", "juwels_booster")
    assert [row.devices for row in found.of(STRONG)] == list(MINUTES)
    assert found.of(WEAK) == []


def _rows(count: int) -> Any:
    return lambda record: record | {"rows": record["rows"][:count]}


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (_rows(0), ["0 sizes"]),
        (_rows(1), ["1 sizes"]),
        (lambda record: [], []),
        (lambda record: record | {"benchmark": "train"}, []),
        (lambda record: {key: record[key] for key in record if key != "versions"}, ["versions"]),
        (lambda record: record | {"rows": [row | {"step_s": -1} for row in record["rows"]]}, ["step_s -1"]),
        (
            lambda record: record | {"rows": [row | {"speed_up": None} for row in record["rows"]]},
            ["speed_up None"],
        ),
    ],
)
def test_a_useless_measurement_is_refused(change: Any, facts: list[str], tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with refused(path, *facts):
        table.read(path)


@pytest.mark.parametrize("content", [None, "", "{", "null"])
def test_no_measurement_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "bench-scaling.json"
    if content is not None:
        path.write_text(content)
    with refused(path):
        table.read(path)
