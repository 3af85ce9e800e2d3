"""Reading ahead, side by side: the same batches whatever the threads, errors where they are needed."""

import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.data import reader as reading
from slipway.data.ledger import DataLedger, Draw
from slipway.data.randomness import SEED_FIELD
from slipway.data.reader import Reader, side_by_side


class Numbers:
    """A sample is its own number; reading one can be made to wait, or to fail."""

    sizes: dict[str, int] = {}
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
        return {"tokens": tokens, "lengths": torch.tensor(len(tokens))}

    def close(self) -> None:
        """Nothing is open."""


START = DataLedger.begin(1, {"a": 1, "b": 1}, {})
BATCH = 4


def reader(dataset: Any, **options: Any) -> Reader:
    return Reader(dataset, BATCH, [[0, 1], [2, 3]], torch.device("cpu"), **options)


def numbers(read: list[dict[str, torch.Tensor]]) -> list[list[list[int]]]:
    return [batch["tokens"].tolist() for batch in read]


def expected(data: DataLedger) -> list[list[list[int]]]:
    drawn = [[draw.number, ord(draw.source)] for draw in data.draw(BATCH)]
    return [drawn[:2], drawn[2:]]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_next_batch_is_read_ahead(threads: int) -> None:
    dataset = Numbers()
    data, reads = START, reader(dataset, threads=threads)
    for _ in range(4):
        following = data.advance(BATCH)
        assert numbers(reads.read(data, following)) == expected(data)
        data = following
    reads.close()
    assert len(set(dataset.read)) == len(dataset.read) == 5 * BATCH
    assert any(name.startswith("reader") for name in dataset.threads)


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
    reads.ahead = reading._Ahead(reads._read, following)
    reads.ahead.start()
    dataset.error = RuntimeError("changed")
    dataset.gate.set()
    with pytest.raises(RuntimeError, match="changed"):
        reads.read(following, None)


def test_closing_does_not_wait_for_a_read_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CLOSE_SECONDS", 0.1)
    dataset = Numbers()
    reads = reader(dataset)
    reads.read(START, None)
    dataset.gate.clear()
    reads.ahead = reading._Ahead(reads._read, START)
    reads.ahead.start()
    assert reads.ahead.daemon
    started = time.monotonic()
    reads.close()
    assert time.monotonic() - started < 10
    dataset.gate.set()


def test_only_the_fields_that_are_asked_for() -> None:
    dataset = Numbers()
    [batch, _] = reader(dataset, fields=frozenset({"lengths"})).read(START, None)
    assert {name: value.tolist() for name, value in batch.items()} == {"lengths": [2, 2]}


def test_each_sample_has_its_seed_where_that_is_asked_for() -> None:
    """The same with another layout: it follows from the draw."""
    fields = frozenset({"tokens", SEED_FIELD})
    reads = [
        Reader(Numbers(), BATCH, positions, torch.device("cpu"), fields, lambda draw: 10 + draw.number)
        for positions in ([[0, 1], [2, 3]], [[3, 0]])
    ]
    seeds = [
        {
            tuple(tokens.tolist()): seed.item()
            for batch in one.read(START, None)
            for tokens, seed in zip(batch["tokens"], batch[SEED_FIELD], strict=True)
        }
        for one in reads
    ]
    assert seeds[0].items() > seeds[1].items()
    assert all(seed == 10 + number for (number, _), seed in seeds[0].items())


@given(st.integers(0, 12), st.integers(1, 5), st.sets(st.integers(0, 11)))
def test_side_by_side(count: int, threads: int, failing: set[int]) -> None:
    """Results in the order of the draws; of several errors the first draw's."""
    draws = [Draw("a", i) for i in range(count)]

    def call(draw: Draw) -> int:
        if draw.number in failing:
            raise ValueError(draw.number)
        return draw.number

    wrong = sorted(failing & set(range(count)))
    if not wrong:
        assert side_by_side(call, draws, threads) == list(range(count))
        return
    with pytest.raises(ValueError) as found:
        side_by_side(call, draws, threads)
    assert found.value.args == (wrong[0],)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_as_many_threads_as_asked_for(threads: int) -> None:
    """They meet within a sample: with fewer, nobody would come."""
    barrier = threading.Barrier(threads, timeout=5)
    draws = [Draw("a", i) for i in range(threads)]
    assert side_by_side(lambda draw: barrier.wait() >= 0, draws, threads) == [True] * threads
    found = side_by_side(lambda draw: threading.get_ident(), [Draw("a", i) for i in range(100)], threads)
    assert len(set(found)) <= threads
