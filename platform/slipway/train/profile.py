"""Profiles steps by torch's profiler: those of a benchmark, and those of a run (logging.profile_step)."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler import record_function

from slipway.config.schema import RunConfig
from slipway.engine.engine import Rank
from slipway.metrics.log import Log
from slipway.metrics.step_time import KINDS, OPTIMIZER_RANGE, WINDOW_RANGE, breakdown, read_trace

WARM_UP = 1
"""Steps for the profiler's own warm-up, which do not count."""


class Window:
    """A stretch of a rank's work under the profiler, from its construction until `seconds`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # torch.profiler's own class would import torch's compiler, which the CPU adapter keeps out
        on_gpu = "cuda" if device.type == "cuda" else None
        self._profiler = torch.autograd.profiler.profile(use_device=on_gpu, use_kineto=True)
        with _silent():
            self._profiler.__enter__()
        self._range = record_function(WINDOW_RANGE)
        self._range.__enter__()

    def seconds(self) -> dict[str, float]:
        """End the window and return the seconds of each of KINDS."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._range.__exit__(None, None, None)
        with _silent():
            self._profiler.__exit__(None, None, None)
        with tempfile.TemporaryDirectory(prefix="slipway-profile-") as folder:
            path = Path(folder) / "trace.json"
            self._profiler.export_chrome_trace(str(path))
            return breakdown(read_trace(json.loads(path.read_text(encoding="utf-8"))))


class RunProfile:
    """The steps of a run that are profiled, on all ranks at once: none, unless logging.profile_step names the first."""

    def __init__(self, config: RunConfig, model: Rank, device: torch.device) -> None:
        self._steps = config.logging.profiled
        self._device, self._window = device, None
        self._sums = torch.zeros(len(KINDS), dtype=torch.float64)
        self._counted = 0
        if self._steps:
            mark_optimizer(model)

    def begin(self, step: int) -> None:
        """Begin a step; one before it that was given up is forgotten."""
        if self._window is not None:
            self._window.seconds()
        self._window = Window(self._device) if step in self._steps else None

    def end(self, step: int, log: Log) -> None:
        """End a step; after the last one, write the means down. All ranks call it."""
        if self._window is None:
            return
        seconds, self._window = self._window.seconds(), None
        if step in self._steps[WARM_UP:]:
            self._sums += torch.tensor([seconds[kind] for kind in KINDS], dtype=torch.float64)
            self._counted += 1
        if step == self._steps[-1] and self._counted == len(
            self._steps[WARM_UP:]
        ):  # else the segment began among them
            self._write(step, log)

    def _write(self, step: int, log: Log) -> None:
        sums = self._sums.to(self._device)
        torch.distributed.all_reduce(sums)
        means = (sums / self._counted / torch.distributed.get_world_size()).tolist()
        seconds = dict(zip(KINDS, means, strict=True))
        log.write("profile", step=step, first=self._steps.start, steps=self._counted, seconds=seconds)


def profiled(step: Callable[[], object], steps: int, device: torch.device) -> dict[str, float]:
    """Return the seconds of each of KINDS in some steps, after one for the profiler's own warm-up.

    All ranks call it.
    """
    for count in (WARM_UP, steps):
        torch.distributed.barrier()
        window = Window(device)
        for _ in range(count):
            step()
        seconds = window.seconds()
    return seconds


def mark_optimizer(model: Any) -> None:
    """Mark the optimizer's work within a step, above all the gradient norm, for the profile to show it as such."""

    def marked(method: Callable) -> Callable:
        def run(*words: Any, **named: Any) -> Any:
            with record_function(OPTIMIZER_RANGE):
                return method(*words, **named)

        return run

    for name in ("zero_grad", "grad_norm", "update"):
        setattr(model, name, marked(getattr(model, name)))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Discard what the profiler's library writes to standard error when it starts and stops."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
