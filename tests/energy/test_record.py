"""What lines of metrics.jsonl and the ledger hold of energy, and when it is all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.energy import record
from slipway.energy.counter import SOURCES
from slipway.energy.record import Energy


@given(
    st.lists(st.tuples(st.floats(0, 1e12), st.integers(1, 10_000)), min_size=4, max_size=4),
    st.integers(0, 15),
)
def test_a_line_holds_what_ranks_have_summed(pairs: list[tuple[float, int]], kept: int) -> None:
    pairs = [pair if kept >> at & 1 else (0.0, 0) for at, pair in enumerate(pairs)]
    line = record.summed([float(value) for pair in pairs for value in pair])
    expected = {source: pair for source, pair in zip(SOURCES, pairs, strict=True) if pair != (0.0, 0)}
    found = record.read(line)
    assert (found is None) == (not expected)
    if found:
        assert found.joules == {source: joules for source, (joules, _) in expected.items()}
        assert found.counters == {source: count for source, (_, count) in expected.items()}
        assert found.total == pytest.approx(sum(joules for joules, _ in expected.values()))


@pytest.mark.parametrize(
    ("counters", "device", "covers"),
    [
        ({"NVML": 8}, "cuda", True),
        ({"NVML": 7}, "cuda", False),
        ({"AMD SMI": 8}, "cuda", True),
        ({"RAPL": 2}, "cuda", False),  # the processors alone
        ({"RAPL": 2}, "cpu", True),
        ({"RAPL": 1}, "cpu", False),
        ({"Cray pm_counters": 2}, "cuda", True),
        ({"Cray pm_counters": 1, "NVML": 7}, "cuda", False),
        ({}, None, False),
    ],
)
def test_it_is_all_where_every_device_was_counted(counters: dict, device: str | None, covers: bool) -> None:
    found = Energy(joules=dict.fromkeys(counters, 1.0), counters=counters)
    assert found.covers(device, devices=8, nodes=2) is covers


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"energy_joules": 5.0, "energy_counters": {}},
        {"energy_joules": {"NVML": "5"}, "energy_counters": {"NVML": 1}},
        {"energy_joules": {"NVML": -5.0}, "energy_counters": {"NVML": 1}},
        {"energy_joules": {"perpetuum mobile": 5.0}, "energy_counters": {}},
        {"energy_joules": {"NVML": True}, "energy_counters": None},
    ],
)
def test_what_is_no_energy_is_none(line: dict) -> None:
    assert record.read(line) is None


def test_a_source_whose_count_is_lost_counts_nobody() -> None:
    found = record.read({"energy_joules": {"NVML": 5.0}, "energy_counters": {"NVML": "many"}})
    assert found and found.total == 5.0 and not found.covers("cuda", 1, 1)
