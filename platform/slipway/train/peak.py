"""The peak rate of a device, which a step's rate is compared with."""

import time

import numpy as np
import torch

from slipway.config.schema import RunConfig

WINDOW = 0.01
"""Seconds; the best window is the peak. Short, so that other programs leave some of them alone."""
AT_THE_START, LATER = 20, 10
"""Windows that are measured; on a CPU for either precision."""


def of_profile(config: RunConfig) -> tuple[str, float | None]:
    """Return the precision whose peak counts, and that peak in TFLOP/s; None: measure it, as the profile has none.

    With FP8 it is the peak of FP8, or that of bf16 if the profile has no other.
    """
    training, device = config.training, config.cluster.device
    precision = "fp8" if training.fp8 and device.peak_tflops_fp8 else training.precision
    return precision, device.peak_tflops(precision)


class Peak:
    """The peak of one device at the training precision: the profile's, else the best that was measured so far.

    Square matrix products are measured on all ranks at once: on a laptop the ranks share the cores, and so does the
    peak. Other work on the machine makes single windows slow, so that the best of several counts, and on a CPU more are
    measured as the run goes on: after steps 1, 2, 4, 8 and so on, 0.1 s each.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Measure the peak if the profile has none; all ranks call it."""
        training = config.training
        self.precision, known = of_profile(config)
        self.measured = known is None
        self.tflops = known or 0.0
        self._device, self._one_node = device, config.resources.nodes == 1
        if self.measured:
            dtypes = [torch.bfloat16 if training.precision == "bf16" else torch.float32]
            if device.type == "cpu" and training.precision == "bf16":
                # many CPUs multiply bf16 more slowly than fp32: the faster counts
                dtypes.append(torch.float32)
            self._products = [_Product(dtype, device) for dtype in dtypes]
            for product in self._products:
                self._measure(product, AT_THE_START)

    def after(self, step: int) -> None:
        """Measure again after a step if it is due; all ranks call it after each step."""
        if self.measured and self._device.type == "cpu" and step & (step - 1) == 0:
            for product in self._products:
                self._measure(product, LATER)

    def in_words(self) -> dict[str, str]:
        """Return the fields of metrics.jsonl that name the source of the peak."""
        return {"peak": "measured" if self.measured else "profile", "peak_precision": self.precision}

    def _measure(self, product: "_Product", windows: int) -> None:
        while True:
            rate = self._best(product, windows)
            if rate > self.tflops:
                self.tflops, self.precision = rate, product.precision
            if self.tflops:
                return
            # no rank got a core before all windows had passed, so nothing was measured

    def _best(self, product: "_Product", windows: int) -> float:
        """Return the TFLOP/s of a device in the best of so many windows; 0 if no rank computed in any."""
        torch.distributed.barrier()
        start = torch.tensor(time.perf_counter(), dtype=torch.float64, device=self._device)
        if self._one_node:  # ranks that share cores share a clock: their windows are the same
            torch.distributed.all_reduce(start, torch.distributed.ReduceOp.MAX)
        rates = product.tflops(start.item(), windows)
        together = torch.tensor(rates, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(together)  # adds up the ranks' rates in each window
        return together.max().item() / torch.distributed.get_world_size()


class _Product:
    """A square matrix product that fills a device."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.size = 8192 if device.type == "cuda" else 512  # a smaller product does not fill a GPU
        own = torch.Generator(device).manual_seed(0)  # training uses the other generators
        self.factor = torch.randn(self.size, self.size, dtype=dtype, device=device, generator=own)
        self.result = torch.empty_like(self.factor)
        self.precision = "bf16" if dtype == torch.bfloat16 else "fp32"
        self._run()  # the first run is slow

    def tflops(self, start: float, windows: int) -> list[float]:
        """Return the TFLOP/s in each of so many windows, one after the other from `start` on, which is about now."""
        ends = [time.perf_counter()]
        while ends[-1] < start + windows * WINDOW:
            self._run()
            ends.append(time.perf_counter())
        borders = start + WINDOW * np.arange(windows + 1)
        # a product across a border counts in part in either window
        products = np.interp(borders, ends, np.arange(len(ends)))
        return (np.diff(products) * 2 * self.size**3 / WINDOW / 1e12).tolist()

    def _run(self) -> None:
        torch.mm(self.factor, self.factor, out=self.result)
        if self.factor.device.type == "cuda":
            torch.cuda.synchronize()
