"""Batches on their way to a GPU, copied from pinned memory on a stream of their own during the step before."""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from slipway.data.collate import Batch


class Upload:
    """A step's batches that are being copied to a GPU; made on any thread, received on the one that trains."""

    def __init__(
        self, batches: Sequence[Batch], on_host: Collection[str], device: torch.device, stream: Any
    ) -> None:
        """Start the copies. on_host: fields that stay. stream: the copies', one for all uploads of a reader."""
        with torch.cuda.stream(stream):
            self.batches = [
                {name: value if name in on_host else _copied(value, device) for name, value in batch.items()}
                for batch in batches
            ]
            self.done = stream.record_event()

    def received(self) -> list[Batch]:
        """Return the batches for use on this thread's stream, which waits for the copies; the CPU does not."""
        stream = torch.cuda.current_stream()
        stream.wait_event(self.done)
        for batch in self.batches:
            for value in batch.values():
                if value.is_cuda:
                    # else its memory would be the next copy's as soon as it is let go
                    value.record_stream(stream)
        return self.batches


def _copied(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a copy that the CPU does not wait for; torch keeps the pinned memory until it is made."""
    return value.pin_memory().to(device, non_blocking=True)
