"""Every sample is read by exactly one data-parallel rank, whatever the layout and whatever the run's history."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.data.ledger import DataLedger, Draw
from slipway.data.reader import Reader
from slipway.train.batches import sample_positions


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


class Drawn:
    """A sample is its own draw; what was read is kept."""

    sizes: dict[str, int] = {}
    on_host: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.read: list[Draw] = []

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        self.read.append(draw)
        return {"draw": torch.tensor([ord(draw.source), draw.number])}

    def close(self) -> None:
        """Nothing is open."""


SEGMENT = st.tuples(
    st.integers(1, 3),  # samples of a microbatch
    st.integers(1, 3),  # microbatches
    st.integers(1, 4),  # data-parallel ranks
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 10), min_size=1),  # the blend
    st.integers(1, 3),  # steps
    st.integers(1, 2),  # reading threads
    st.booleans(),  # the last batch was read ahead, too, as where a segment is stopped
)


@given(st.lists(SEGMENT, min_size=1, max_size=4))
def test_every_sample_is_read_once_whatever_the_history(segments: list[Any]) -> None:
    """Segments with other batches, ranks and blends; each rank has a ledger of its own, from the same checkpoint."""
    saved = ""
    trained: list[Draw] = []
    for micro, microbatches, ranks, weights, steps, threads, foreseen in segments:
        batch = micro * microbatches * ranks
        ends, of_step = set(), [[] for _ in range(steps)]
        for rank in range(ranks):
            data = DataLedger.model_validate_json(saved) if saved else DataLedger.begin(1, weights, {})
            data = data.resume(1, weights, {})
            positions = sample_positions(micro, microbatches, rank, ranks)
            reader = Reader(Drawn(), batch, positions, torch.device("cpu"), threads=threads)
            for step in range(steps):
                following = data.advance(batch)
                batches = reader.read(data, following if foreseen or step + 1 < steps else None)
                assert [len(one["draw"]) for one in batches] == [micro] * microbatches
                of_step[step] += [Draw(chr(s), n) for one in batches for s, n in one["draw"].tolist()]
                data = following
            reader.close()
            ends.add(data.model_dump_json())
        [saved] = ends
        for found in of_step:
            assert len(found) == batch
            trained += found
    for source in {draw.source for draw in trained}:
        assert sorted(d.number for d in trained if d.source == source) == list(
            range(sum(d.source == source for d in trained))
        )
    assert DataLedger.model_validate_json(saved).total == len(trained)
