import json
from pathlib import Path

import pytest

from refusals import refused
from scaling import MINUTES, WORDS, written
from slipway.bench.options import configuration
from slipway.bench.scaling import table
from slipway.bench.scaling.table import Measurement
from slipway.plan import Plan, make_plan
from slipway.proposal.time import computer_time, slices


@pytest.fixture
def measurement(tmp_path: Path) -> Measurement:
    return table.read(written(tmp_path))


def plan(*words: str) -> Plan:
    common = ["training.global_batch_size=256", "training.steps=1000", "resources.nodes=2"]
    return make_plan(configuration([], [*WORDS, *common, *words], Path("run")))


def test_a_measured_step_of_the_same_run_counts(measurement: Measurement) -> None:
    batch = next(row.global_batch_size for row in measurement.rows if row.devices == 8)
    asked = plan(f"training.global_batch_size={batch}")
    time = computer_time(asked, measurement, runs=1, reserve=0)
    assert time.measured and time.step_seconds == pytest.approx(MINUTES[8])
    assert time.device_hours == pytest.approx(MINUTES[8] * 1000 * 8 / 3600)
    assert time.hours == pytest.approx(MINUTES[8] * 1000 / 3600)


@pytest.mark.parametrize(
    "words",
    [
        ["training.global_batch_size=512"],
        ["resources.nodes=32"],
        ["resources.nodes=8", "resources.devices_per_node=1"],
        ["cluster=h100_cloud", "resources.devices_per_node=4"],
        ["model=gpt3_350m"],
        ["training.precision=fp32"],
    ],
)
def test_a_step_of_another_run_does_not(words: list[str], measurement: Measurement) -> None:
    batch = next(row.global_batch_size for row in measurement.rows if row.devices == 8)
    asked = plan(f"training.global_batch_size={batch}", *words)
    time = computer_time(asked, measurement, runs=1, reserve=0)
    assert not time.measured and time.step_seconds == asked.time.seconds_per_step


def test_runs_and_a_reserve_multiply(measurement: Measurement) -> None:
    one = computer_time(plan(), measurement, runs=1, reserve=0)
    more = computer_time(plan(), measurement, runs=3, reserve=25)
    assert more.device_hours == pytest.approx(3.75 * one.device_hours) and more.hours == one.hours
    assert one.energy_kwh and more.energy_kwh == pytest.approx(3.75 * one.energy_kwh)
    for word in ("1,000 steps", "8 devices", "3 runs", "1.25"):
        assert word in more.arithmetic


def test_without_any_step_time_there_is_no_computer_time(measurement: Measurement) -> None:
    with refused("proposal", "local", 2):
        computer_time(
            plan("cluster=local", "resources.nodes=1", "resources.devices_per_node=2"), measurement, 1, 0
        )


def test_slices_are_the_queues(measurement: Measurement) -> None:
    assert slices(plan().config, 100.0) == (24.0, 5)
    assert slices(plan().config, 0.5) == (24.0, 1)
    assert slices(plan("launch.time_limit=120").config, 100.0) == (2.0, 50)


def test_the_fixture_holds_what_was_published(tmp_path: Path) -> None:
    rows = json.loads(written(tmp_path).read_text())["rows"]
    assert {row["devices"]: row["step_s"] for row in rows} == pytest.approx(MINUTES)
