"""A reader of microbatches ahead of the step, in the order of the draws, with as many threads as asked for.

On a GPU the thread that reads also starts the copies, so that they have arrived when the step begins.

Threads and not processes: a process that holds process groups and a GPU must not be forked, and what takes the time in
a sample (reading, and decompressing in zarr's, TIFF's and JPEG's libraries) lets other threads run meanwhile.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from slipway.data.collate import Batch, collate
from slipway.data.kind import Dataset
from slipway.data.ledger import DataLedger, Draw
from slipway.data.randomness import SEED_FIELD
from slipway.data.upload import Upload

CLOSE_SECONDS = 5.0


class Reader:
    """Reads microbatches of a dataset; the next step's are read while this one computes."""

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        positions: Sequence[Sequence[int]],
        device: torch.device,
        fields: frozenset[str] | None = None,
        seed_of: Callable[[Draw], int] | None = None,
        threads: int = 1,
    ) -> None:
        """Take a dataset to read from; nothing is read yet.

        batch_size: samples of a step, over all ranks. positions: places in it of this rank's microbatches. fields:
        those that batches have; None: all that samples have. seed_of: makes SEED_FIELD if that is asked for. threads:
        how many read samples at the same time.
        """
        self.dataset, self.batch_size, self.positions, self.device = dataset, batch_size, positions, device
        self.fields, self.seed_of, self.threads = fields, seed_of, threads
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.ahead: _Ahead | None = None

    def read(self, data: DataLedger, following: DataLedger | None) -> list[Batch]:
        """Return the microbatches of the batch that follows `data`; start reading the one that follows `following`.

        Raises the exception that reading them raised, even if that was in a thread.
        """
        ahead, self.ahead = self.ahead, None
        taken = ahead.result() if ahead and ahead.data == data else self._take(data)
        if following is not None:
            self.ahead = _Ahead(self._take, following)
            self.ahead.start()
        return taken.received() if isinstance(taken, Upload) else taken

    def _take(self, data: DataLedger) -> "list[Batch] | Upload":
        """Return a step's batches, on this device or on their way to it."""
        batches = self._read(data)
        if self.stream is None:
            return batches
        return Upload(batches, self.dataset.on_host, self.device, self.stream)

    def _read(self, data: DataLedger) -> list[Batch]:
        drawn = data.draw(self.batch_size)
        draws = [drawn[i] for of_one in self.positions for i in of_one]
        samples = iter(side_by_side(self._sample, draws, self.threads))
        return [collate([next(samples) for _ in of_one], self.fields) for of_one in self.positions]

    def _sample(self, draw: Draw) -> Mapping[str, Any]:
        sample = self.dataset[draw]
        if self.seed_of is None or self.fields is None or SEED_FIELD not in self.fields:
            return sample
        return {**sample, SEED_FIELD: self.seed_of(draw)}

    def close(self) -> None:
        """Stop reading ahead; a read that does not return is waited for at most CLOSE_SECONDS."""
        ahead, self.ahead = self.ahead, None
        if ahead:
            ahead.join(CLOSE_SECONDS)


class _Ahead(threading.Thread):
    """A thread that reads one step's batches.

    It is a daemon, so that a file system that hangs does not keep the process alive.
    """

    def __init__(self, take: Callable[[DataLedger], list[Batch] | Upload], data: DataLedger) -> None:
        super().__init__(name="reader", daemon=True)
        self.take, self.data = take, data
        self.taken: list[Batch] | Upload = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.taken = self.take(self.data)
        except BaseException as error:
            self.error = error

    def result(self) -> list[Batch] | Upload:
        """Wait for the batches and return them. Raises the exception that reading them raised."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.taken


def side_by_side(call: Callable[[Draw], Any], draws: Sequence[Draw], threads: int) -> list[Any]:
    """Return the results for all draws, in their order, by this thread and `threads` - 1 others.

    Raises the error of the first draw that has one, whichever thread met it; draws after it may not be called.
    """
    if threads == 1 or len(draws) < 2:
        return [call(draw) for draw in draws]
    results: list[Any] = [None] * len(draws)
    errors: dict[int, BaseException] = {}
    left, lock = iter(range(len(draws))), threading.Lock()

    def work() -> None:
        while not errors:
            with lock:
                index = next(left, None)
            if index is None:
                return
            try:
                results[index] = call(draws[index])
            except BaseException as error:
                errors[index] = error

    helpers = [
        threading.Thread(target=work, name=f"reader-{number}", daemon=True)
        for number in range(1, min(threads, len(draws)))
    ]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[min(errors)]
    return results
