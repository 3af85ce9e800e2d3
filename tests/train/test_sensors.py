"""Power and clock of a GPU, from what the driver would tell: no test has asked a real one."""

import threading

import pytest
import torch

from slipway.train import sensors
from slipway.train.sensors import Sensors

GPU = torch.device("cuda", 0)


def told(monkeypatch: pytest.MonkeyPatch, values: list[tuple[int, int]]) -> threading.Event:
    """Let the driver tell these (milliwatts, MHz) one after the other; the event is set when all are told."""
    left, over = list(values), threading.Event()

    def power(device: torch.device) -> int:
        if not left:
            over.set()
            raise RuntimeError("no more values")
        return left[0][0]

    monkeypatch.setattr(torch.cuda, "power_draw", power)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: left.pop(0)[1])
    monkeypatch.setattr(sensors, "INTERVAL", 0.001)
    return over


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_means_since_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    over = told(monkeypatch, [(400_000, 1000), (600_000, 1500), (800_000, 2000)])
    found = Sensors(GPU, refuse)
    assert over.wait(10)
    found.close()
    assert found.means() == {"power_watts": 600.0, "clock_mhz": 1500.0}


def test_a_short_step_has_the_values_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 300_000)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: 1200)
    monkeypatch.setattr(sensors, "INTERVAL", 60.0)
    found = Sensors(GPU, refuse)
    assert found.means() == found.means() == {"power_watts": 300.0, "clock_mhz": 1200.0}
    found.close()


def test_a_driver_that_stops_telling_leaves_no_old_values(monkeypatch: pytest.MonkeyPatch) -> None:
    read, over = threading.Event(), threading.Event()
    calls: list[torch.device] = []

    def power(device: torch.device) -> int:
        calls.append(device)
        if len(calls) > 1:
            assert read.wait(10)  # until the first value has been asked for
            over.set()
            raise RuntimeError("no more values")
        return 400_000

    monkeypatch.setattr(torch.cuda, "power_draw", power)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: 1000)
    monkeypatch.setattr(sensors, "INTERVAL", 0.001)
    found = Sensors(GPU, refuse)
    assert found.means()
    read.set()
    assert over.wait(10)
    found.close()
    for thread in threading.enumerate():
        if thread.name == "sensors":
            thread.join(10)
    assert found.means() == {}


def test_what_cannot_be_had_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def power(device: torch.device) -> int:
        raise ModuleNotFoundError("nvidia-ml-py is not there\nand more lines")

    monkeypatch.setattr(torch.cuda, "power_draw", power)
    said: list[str] = []
    found = Sensors(GPU, said.append)
    assert found.means() == found.means() == {}
    assert len(said) == 1 and "nvidia-ml-py" in said[0] and "\n" not in said[0]


def test_nothing_is_expected_of_a_cpu() -> None:
    assert Sensors(torch.device("cpu"), refuse).means() == {}
