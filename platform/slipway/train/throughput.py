"""What a device can do and does: the peak it is held against, its memory, model FLOP utilization."""

import time

import psutil
import torch

from slipway.config.schema import RunConfig
from slipway.plan import Plan


def peak_tflops(config: RunConfig, device: torch.device) -> float:
    """Peak of one device in TFLOP/s at the training precision: from the profile, else measured.

    Measured means the best of a few square matrix products, on all ranks at once: on a laptop the ranks share
    the cores, and so does the peak.
    """
    known = config.cluster.device.peak_tflops(config.training.precision)
    if known is not None:
        return known
    torch.distributed.barrier()
    dtypes = [torch.float32]
    if (
        config.training.precision == "bf16"
    ):  # many CPUs multiply bf16 more slowly than fp32: the faster counts
        dtypes.append(torch.bfloat16)
    best = torch.tensor(max(_matmul_tflops(dtype, device) for dtype in dtypes), device=device)
    torch.distributed.all_reduce(best)
    return best.item() / torch.distributed.get_world_size()


def _matmul_tflops(dtype: torch.dtype, device: torch.device, seconds: float = 0.25) -> float:
    size = 8192 if device.type == "cuda" else 512  # a GPU is not filled by less
    own = torch.Generator(device).manual_seed(0)  # the other generators are training's
    a = torch.randn(size, size, dtype=dtype, device=device, generator=own)
    torch.mm(a, a)
    start = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()
        count += 1
    return 2 * size**3 * count / elapsed / 1e12


def memory_gib(device: torch.device) -> float:
    """Largest amount of memory this rank has held: device memory on a GPU, resident memory on CPU. GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30


def rates(plan: Plan, seconds: float, peak: float) -> dict[str, float]:
    """What a step of so many seconds amounts to; peak: of one device, TFLOP/s.

    mfu is model FLOP utilization (PaLM, arXiv 2204.02311, appendix B): FLOP of forward and backward, nothing
    that is computed again, over what the device could have done in that time.
    """
    batch_size = plan.config.training.global_batch_size
    achieved = plan.flops_per_step / seconds / plan.world_size / 1e12
    return {
        "step_seconds": seconds,
        "samples_per_second": batch_size / seconds,
        "units_per_second": batch_size * plan.units_per_sample / seconds,
        "tflops_per_device": achieved,
        "mfu": achieved / peak,
    }
