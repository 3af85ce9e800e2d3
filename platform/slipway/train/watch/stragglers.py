"""Finds ranks that are slower than their peers: own time in the forward passes, compared now and then.

Whole steps last equally long on all ranks, as each waits for the slowest. Forward passes wait for other ranks only
within tensor, context and expert parallelism: there a slow rank shows as its group.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import Any, NamedTuple

import torch


class Straggler(NamedTuple):
    """A slow rank: its mean forward pass and its peers' (lower) median, in seconds."""

    rank: int
    seconds: float
    peers: float


class ForwardTimes:
    """Times this rank's forward passes; on a GPU by events, read when asked, so that nothing waits for them."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.seconds: list[float] = []
        self.events: list[tuple[Any, Any]] = []

    def timed(self, forward_step: Callable) -> Callable:
        """Return a function that calls forward_step and times it."""

        def step(*words: Any, **named: Any) -> Any:
            started = self._now()
            result = forward_step(*words, **named)
            if self.cuda:
                self.events.append((started, self._now()))
            else:
                self.seconds.append(self._now() - started)
            return result

        return step

    def take(self) -> float:
        """Return the mean seconds of a pass since the last call; see `usual`."""
        if self.events:
            torch.cuda.synchronize()
            self.seconds += [first.elapsed_time(last) / 1000 for first, last in self.events]
            self.events.clear()
        mean = usual(self.seconds)
        self.seconds.clear()
        return mean

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def usual(seconds: Sequence[float]) -> float:
    """Return the mean, without the longest if there are more than two: one bad moment is no slow rank.

    0 if there are none.
    """
    counted = sorted(seconds)[: max(2, len(seconds) - 1)]
    return sum(counted) / max(1, len(counted))


def stragglers(seconds: Sequence[float], stages: Sequence[int], ratio: float) -> list[Straggler]:
    """Return the ranks slower than `ratio` x the (lower) median of the ranks of the same pipeline stage, slowest first.

    seconds, stages: one entry per rank.
    """
    of_stage: dict[int, list[float]] = defaultdict(list)
    for value, stage in zip(seconds, stages, strict=True):
        of_stage[stage].append(value)
    found = [
        Straggler(rank, value, median_low(of_stage[stage]))
        for rank, (value, stage) in enumerate(zip(seconds, stages, strict=True))
        if value > ratio * median_low(of_stage[stage])
    ]
    return sorted(found, key=lambda s: s.seconds / max(s.peers, 1e-9), reverse=True)
