"""A rank's meter, on a node laid out in a folder."""

import threading
from pathlib import Path

import pytest
import torch

from slipway.energy import host
from slipway.energy.counter import SOURCES
from slipway.ranks.environment import Place
from slipway.train.meter import Meter, meter

CPU = torch.device("cpu")


def place(local_rank: int) -> Place:
    return Place(rank=local_rank, local_rank=local_rank, world_size=2, master_addr="localhost", master_port=1)


def package(root: Path, number: int, microjoules: int) -> Path:
    folder = root / host.POWERCAP / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("name", f"package-{number}"), ("max_energy_range_uj", "65532610987")):
        (folder / name).write_text(text)
    (folder / "energy_uj").write_text(str(microjoules))
    return folder


def told(meter: Meter) -> dict[str, tuple[float, float]]:
    numbers = meter.numbers()
    return dict(zip(SOURCES, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


def test_the_first_rank_of_a_node_counts_for_all(tmp_path: Path) -> None:
    for number in range(2):
        package(tmp_path, number, 1_000_000)
    first, second = (meter(CPU, place(rank), tmp_path) for rank in range(2))
    for number in range(2):
        package(tmp_path, number, 4_000_000)
    for one in (first, second):
        one.read()
        one.close()
    assert told(first)["RAPL"] == (6.0, 1.0), "a node counts once, whatever its processors"
    assert told(second)["RAPL"] == (0.0, 0.0)
    (package(tmp_path, 1, 0) / "energy_uj").unlink()
    first.read()
    assert told(first)["RAPL"] == (6.0, 0.0), "a processor is missing, and so the node"


def test_counters_are_read_beside_the_training(tmp_path: Path) -> None:
    package(tmp_path, 0, 0)
    found = Meter(host.of_node(tmp_path), interval=0.01)
    package(tmp_path, 0, 9_000_000)
    limit = threading.Event()
    for _ in range(1000):
        if told(found)["RAPL"][0]:
            break
        limit.wait(0.01)
    found.close()
    assert told(found)["RAPL"] == (9.0, 1.0)


def test_without_counters_nothing_is_counted_and_no_thread_runs(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    found = meter(CPU, place(0), tmp_path)
    assert found.numbers() == [0.0] * 2 * len(SOURCES)
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("local_rank", [0, 1])
def test_crays_counter_leaves_the_devices_out(tmp_path: Path, local_rank: int) -> None:
    counter = tmp_path / host.CRAY
    counter.parent.mkdir(parents=True)
    counter.write_text("7 J 1 us")
    found = meter(CPU, place(local_rank), tmp_path)
    found.close()
    assert told(found)["Cray pm_counters"] == (0.0, float(local_rank == 0))
