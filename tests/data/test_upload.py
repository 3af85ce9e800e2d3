"""Copies to a GPU, in the order in which its streams are told of them; what the copies do, only a GPU can show."""

from contextlib import contextmanager
from typing import Any

import pytest
import torch

from slipway.data.upload import Upload


class Stream:
    """Writes down what it is told."""

    def __init__(self, name: str, told: list[Any]) -> None:
        self.name, self.told = name, told

    def record_event(self) -> str:
        self.told.append((self.name, "record"))
        return f"event of {self.name}"

    def wait_event(self, event: str) -> None:
        self.told.append((self.name, "wait", event))


def test_the_training_stream_waits_for_copies_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    copies, training = Stream("copies", told), Stream("training", told)

    @contextmanager
    def entered(stream: Stream) -> Any:
        told.append((stream.name, "begin"))
        yield
        told.append((stream.name, "end"))

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        told.append("pinned")
        return tensor

    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: training)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    batches = [{"tokens": torch.arange(4), "starts": torch.arange(2)}]
    upload = Upload(batches, {"starts"}, torch.device("meta"), copies)
    assert told == [("copies", "begin"), "pinned", ("copies", "record"), ("copies", "end")]
    [batch] = upload.received()
    assert told[4:] == [("training", "wait", "event of copies")]
    assert {name: value.device.type for name, value in batch.items()} == {"tokens": "meta", "starts": "cpu"}
    assert batch["starts"].tolist() == [0, 1]
