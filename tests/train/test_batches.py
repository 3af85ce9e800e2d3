"""Every sample of a step is read by exactly one data-parallel rank, whatever the layout; reading ahead."""

import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.data.ledger import DataLedger, Draw
from slipway.train import batches
from slipway.train.batches import Reader, sample_positions


@given(micro=st.integers(1, 5), microbatches=st.integers(1, 6), ranks=st.integers(1, 8))
def test_the_global_batch_is_covered_once(micro: int, microbatches: int, ranks: int) -> None:
    read = [
        position
        for rank in range(ranks)
        for of_one in sample_positions(micro, microbatches, rank, ranks)
        for position in of_one
    ]
    assert sorted(read) == list(range(micro * microbatches * ranks))


def test_microbatches_of_one_rank() -> None:
    assert sample_positions(2, 2, 1, 2) == [[2, 3], [6, 7]]


class Numbers:
    """A sample is its own number; reading one can be made to wait, or to fail."""

    on_host = frozenset({"lengths"})

    def __init__(self) -> None:
        self.read: list[Draw] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        self.gate.wait()
        if self.error:
            raise self.error
        self.read.append(draw)
        self.threads.add(threading.current_thread().name)
        tokens = torch.tensor([draw.number, ord(draw.source)])
        return {"tokens": tokens, "lengths": torch.tensor(len(tokens)), "not asked for": tokens}


START = DataLedger.begin(1, {"a": 1, "b": 1}, {})
BATCH = 4
FIELDS = frozenset({"tokens", "lengths"})


def reader(dataset: Any, device: str = "cpu") -> Reader:
    return Reader(dataset, BATCH, [[0, 1], [2, 3]], torch.device(device), FIELDS)


def numbers(read: list[dict[str, torch.Tensor]]) -> list[list[list[int]]]:
    return [batch["tokens"].tolist() for batch in read]


def expected(data: DataLedger) -> list[list[list[int]]]:
    drawn = [[draw.number, ord(draw.source)] for draw in data.draw(BATCH)]
    return [drawn[:2], drawn[2:]]


def test_the_next_batch_is_read_ahead() -> None:
    dataset = Numbers()
    data, reads = START, reader(dataset)
    for _ in range(4):
        following = data.advance(BATCH)
        assert numbers(reads.read(data, following)) == expected(data)
        data = following
    reads.close()
    assert len(set(dataset.read)) == len(dataset.read) == 5 * BATCH
    assert "reader" in dataset.threads


def test_a_batch_that_was_not_foreseen() -> None:
    """As after a rollback."""
    reads = reader(Numbers())
    reads.read(START, START.advance(BATCH))
    elsewhere = START.advance(100)
    assert numbers(reads.read(elsewhere, None)) == expected(elsewhere)
    assert numbers(reads.read(START, None)) == expected(START)
    reads.close()


def test_an_error_while_reading_ahead_ends_the_step_that_needs_it() -> None:
    dataset = Numbers()
    reads, following = reader(dataset), START.advance(BATCH)
    dataset.gate.clear()
    reads.ahead = batches._Ahead(reads._read, following)
    reads.ahead.start()
    dataset.error = RuntimeError("changed")
    dataset.gate.set()
    with pytest.raises(RuntimeError, match="changed"):
        reads.read(following, None)


def test_closing_does_not_wait_for_a_read_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CLOSE_SECONDS", 0.1)
    dataset = Numbers()
    reads = reader(dataset)
    reads.read(START, None)
    dataset.gate.clear()
    reads.ahead = batches._Ahead(reads._read, START)
    reads.ahead.start()
    assert reads.ahead.daemon
    started = time.monotonic()
    reads.close()
    assert time.monotonic() - started < 10
    dataset.gate.set()


def test_fields_that_no_gpu_reads_stay() -> None:
    """The device without memory stands for a GPU."""
    [batch, _] = reader(Numbers(), "meta").read(START, None)
    assert {name: value.device.type for name, value in batch.items()} == {"tokens": "meta", "lengths": "cpu"}
    assert batch["lengths"].tolist() == [2, 2]
