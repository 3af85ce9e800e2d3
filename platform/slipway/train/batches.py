"""Which samples a rank reads, and reading them ahead of the step."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from slipway.data.ledger import DataLedger

Batch = dict[str, torch.Tensor]
CLOSE_SECONDS = 5.0


def sample_positions(
    micro_batch_size: int,
    num_microbatches: int,
    data_parallel_rank: int,
    data_parallel_size: int,
) -> list[list[int]]:
    """Places in the global batch of the samples of each microbatch of one rank.

    Over all data-parallel ranks they are 0 .. global_batch_size - 1, each exactly once, whatever the layout.
    """
    return [
        [
            (m * data_parallel_size + data_parallel_rank) * micro_batch_size + i
            for i in range(micro_batch_size)
        ]
        for m in range(num_microbatches)
    ]


class Reader:
    """Reads a step's microbatches; the next step's are read in a thread while this one computes.

    dataset: gives a sample for each draw, and names in on_host the fields that stay on the CPU.
    positions: of sample_positions.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        positions: list[list[int]],
        device: torch.device,
        fields: frozenset[str],
    ) -> None:
        """fields: of a sample that are used here; the others are dropped."""
        self.fields = fields
        self.dataset, self.batch_size, self.positions, self.device = dataset, batch_size, positions, device
        self.ahead: _Ahead | None = None

    def read(self, data: DataLedger, following: DataLedger | None) -> list[Batch]:
        """Microbatches of the global batch that comes after `data`; starts reading the one after `following`.

        Raises what reading them raised, also where that was in the thread.
        """
        ahead, self.ahead = self.ahead, None
        batches = ahead.result() if ahead and ahead.data == data else self._read(data)
        if following is not None:
            self.ahead = _Ahead(self._read, following)
            self.ahead.start()
        return [{name: self._moved(name, value) for name, value in b.items()} for b in batches]

    def _moved(self, name: str, value: torch.Tensor) -> torch.Tensor:
        on_host = name in self.dataset.on_host
        return value if on_host else value.to(self.device, non_blocking=True)

    def _read(self, data: DataLedger) -> list[Batch]:
        drawn = data.draw(self.batch_size)
        return [collate([self.dataset[drawn[i]] for i in of_one], self.fields) for of_one in self.positions]

    def close(self) -> None:
        """Let go of what is being read ahead; a read that does not return is not waited for."""
        ahead, self.ahead = self.ahead, None
        if ahead:
            ahead.join(CLOSE_SECONDS)


class _Ahead(threading.Thread):
    """One batch being read; a daemon, so that a file system that hangs does not keep the process."""

    def __init__(self, read: Callable[[DataLedger], list[Batch]], data: DataLedger) -> None:
        super().__init__(name="reader", daemon=True)
        self.read, self.data = read, data
        self.batches: list[Batch] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.batches = self.read(self.data)
        except BaseException as error:
            self.error = error

    def result(self) -> list[Batch]:
        """Wait for it."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.batches


def collate(samples: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None) -> Batch:
    """Stack samples, field by field; fields: those that are wanted, of those that there are. None: all."""
    wanted = [name for name in samples[0] if fields is None or name in fields]
    return {name: torch.stack([torch.as_tensor(sample[name]) for sample in samples]) for name in wanted}
