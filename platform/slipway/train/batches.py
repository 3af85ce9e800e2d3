"""Which samples a rank reads, and reading them ahead of the step."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

Batch = dict[str, torch.Tensor]


def sample_indices(
    consumed: int,
    micro_batch_size: int,
    num_microbatches: int,
    data_parallel_rank: int,
    data_parallel_size: int,
) -> list[list[int]]:
    """Sample numbers of each microbatch of one rank for the step that starts after `consumed` samples.

    Over all data-parallel ranks they are consumed .. consumed + global_batch_size - 1, each exactly once,
    whatever the layout.
    """
    return [
        [
            consumed + (m * data_parallel_size + data_parallel_rank) * micro_batch_size + i
            for i in range(micro_batch_size)
        ]
        for m in range(num_microbatches)
    ]


class Reader:
    """Reads a step's microbatches; the next step's are read in a thread while this one computes."""

    def __init__(self, dataset: Any, indices: Callable[[int], list[list[int]]], device: torch.device) -> None:
        self.dataset = dataset
        self.indices = indices
        self.device = device
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self.ahead: tuple[int, Any] | None = None

    def read(self, consumed: int, next_consumed: int | None) -> list[Batch]:
        """Microbatches of the step after `consumed` samples; starts reading those after `next_consumed`."""
        expected = self.ahead is not None and self.ahead[0] == consumed
        batches = self.ahead[1].result() if self.ahead and expected else self._read(consumed)
        self.ahead = None
        if next_consumed is not None:
            self.ahead = (next_consumed, self.pool.submit(self._read, next_consumed))
        return [
            {name: value.to(self.device, non_blocking=True) for name, value in b.items()} for b in batches
        ]

    def _read(self, consumed: int) -> list[Batch]:
        return [collate([self.dataset[i] for i in of_one]) for of_one in self.indices(consumed)]

    def close(self) -> None:
        """End the reading thread."""
        self.pool.shutdown(cancel_futures=True)


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack samples, field by field."""
    return {
        name: torch.stack([torch.as_tensor(s[name]) for s in samples])
        for name in samples[0]
        if isinstance(samples[0][name], torch.Tensor) or hasattr(samples[0][name], "__array__")
    }


def per_stage(batches: list[Batch], chunks: int) -> list[Iterator[Batch]]:
    """One iterator over the same microbatches for each model chunk of an interleaved schedule."""
    return [iter(batches) for _ in range(chunks)]
