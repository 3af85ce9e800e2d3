"""Counters of a node, in folders laid out as Linux and Cray's software lay them out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.energy import host
from slipway.energy.counter import Used

WRAP = 262_143_328_850  # microjoules: what Intel's processors report


@pytest.fixture
def zone(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zone of RAPL as /sys/class/powercap has it, flat, with the parts of a processor beside it."""

    def write(name: str, kind: str, microjoules: int, wrap: int | None = WRAP) -> Path:
        folder = tmp_path / host.POWERCAP / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{kind}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        if wrap is not None:
            (folder / "max_energy_range_uj").write_text(f"{wrap}\n")
        return folder

    return write


def used(counters: list[Used]) -> float:
    for one in counters:
        one.update()
    return sum(one.joules for one in counters)


def test_processors_and_their_memory_count_once(zone, tmp_path: Path) -> None:
    """What lies within a processor, the whole system, and the second driver's copies are left out."""
    names = {
        "intel-rapl": "control",
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:1:0": "uncore",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for name, kind in names.items():
        zone(name, kind, 5_000_000)
    found = host.of_node(tmp_path)
    assert [one.source for one in found] == ["RAPL"] * 3
    assert used(found) == 0.0, "what was used before does not count"
    for name, kind in names.items():
        zone(name, kind, 7_000_000)
    assert used(found) == pytest.approx(3 * 2.0)


@given(st.lists(st.integers(0, WRAP - 1), max_size=20), st.integers(0, WRAP - 1))
def test_a_counter_that_wraps(steps: list[int], first: int) -> None:
    """Whatever it is read at, as long as it is read once a round."""

    class Counting:
        source, wraps_at, value = "RAPL", WRAP / 1e6, first

        def read(self) -> float:
            return self.value % WRAP / 1e6

    counter = Counting()
    found = Used(counter)
    for step in steps:
        counter.value += step
        found.update()
    assert found.joules == pytest.approx(sum(steps) / 1e6, rel=1e-6, abs=1e-3)


def test_a_zone_that_wraps_goes_on(zone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", WRAP - 1_000_000)
    found = host.of_node(tmp_path)
    zone("intel-rapl:0", "package-0", 2_000_000)
    assert used(found) == pytest.approx(3.0)


def test_what_vanishes_is_known_to_and_what_comes_back_counts(zone, tmp_path: Path) -> None:
    folder = zone("intel-rapl:0", "package-0", 1_000_000)
    (found,) = host.of_node(tmp_path)
    (folder / "energy_uj").rename(folder / "away")
    found.update()
    assert (found.joules, found.lives) == (0.0, False)
    (folder / "energy_uj").write_text("garbage")
    found.update()
    assert (found.joules, found.lives) == (0.0, False)
    (folder / "energy_uj").write_text("4000000\n")
    found.update()
    assert (found.joules, found.lives) == (3.0, True)


def test_what_cannot_be_read_is_not_counted(zone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 1_000_000, wrap=None)  # does not say when it wraps
    folder = zone("intel-rapl:1", "package-1", 1_000_000)
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()  # as unreadable for root as for others
    zone("intel-rapl:2", "package-2", 1_000_000)
    assert len(host.of_node(tmp_path)) == 1
    assert host.of_node(tmp_path / "elsewhere") == []


def test_crays_counter_stands_for_the_whole_node(zone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 1_000_000)
    counter = tmp_path / host.CRAY
    counter.parent.mkdir(parents=True)
    counter.write_text("7000 J 1598877011 us\n")
    found = host.of_node(tmp_path)
    assert [one.source for one in found] == ["Cray pm_counters"]
    counter.write_text("7450 J 1598877111 us\n")
    assert used(found) == 450.0
    counter.write_text("30 J 1598877211 us\n")  # the node's controller began anew
    assert used(found) == 480.0
    counter.write_text("30 W 1598877311 us\n")
    assert (used(found), found[0].lives) == (480.0, False)
