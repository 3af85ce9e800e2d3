"""Measures the peak of a device: matrix products and copies. Imports torch."""

import time
from collections.abc import Callable

import torch

from slipway.kernels.products import by_onednn

MATMUL_SIZES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**32}  # more than any cache holds


def matmul_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Return the most FLOP/s that square products reach.

    On a CPU the fastest way counts: for bf16 also fp32, for fp32 also oneDNN.
    """
    dtypes = {dtype, torch.float32} if device.type == "cpu" else {dtype}
    best = 0.0
    for kind in dtypes:
        for size in MATMUL_SIZES[device.type]:
            a = torch.randn(size, size, device=device).to(kind)
            out = torch.empty_like(a)
            products: list[Callable[[], object]] = [lambda a=a, out=out: torch.mm(a, a, out=out)]
            if device.type == "cpu" and kind == torch.float32 and torch.backends.mkldnn.is_available():
                products.append(lambda a=a: by_onednn(a, a))
            best = max(best, *(2 * size**3 / _least_seconds(product, device) for product in products))
    return best


def copy_bytes_per_second(device: torch.device) -> float:
    """Return the most bytes per second of a large copy, those read and those written added up."""
    source = torch.ones(COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _least_seconds(lambda: target.copy_(source), device)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _least_seconds(run: Callable[[], object], device: torch.device, limit: float = 0.4) -> float:
    run()
    synchronize(device)
    least, end = float("inf"), time.perf_counter() + limit
    while time.perf_counter() < end:
        started = time.perf_counter()
        run()
        synchronize(device)
        least = min(least, time.perf_counter() - started)
    return least
