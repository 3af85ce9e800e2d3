"""Register kernels as operators of torch, and launch them.

An operator has two halves: one makes the tensors that it returns, the other fills them. torch's compiler and
FakeTensorMode run only the first. Launches are the same on every rank: nothing is tuned by measuring.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
from torch import Tensor

LIBRARY = torch.library.Library("slipway", "DEF")
LANES = 64 if torch.version.hip else 32  # threads of a warp, or of a wavefront on AMD's GPUs for data centres
WIDE = 16  # elements of a row that a thread holds: two loads of 16 bytes in bf16
MOST_THREADS = 1024  # the most threads of a program, a limit of all GPUs


def operator(schema: str, outputs: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that registers a function as torch.ops.slipway.<name of the schema>.

    outputs: returns the function's results for the same arguments, not filled.
    """

    def register(function: Callable[..., Any]) -> Any:
        name = schema.partition("(")[0]
        LIBRARY.define(schema)
        LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"slipway::{name}", outputs, lib=LIBRARY)
        return getattr(torch.ops.slipway, name).default

    return register


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, block: int, **constants: Any) -> None:
    """Run a kernel on the GPU of its first argument, of any shape; block: elements that a program holds at a time.

    An empty grid is no error: Triton starts nothing.
    """
    first: Tensor = arguments[0]
    with torch.cuda.device_of(first):
        kernel[grid](*arguments, num_warps=warps(block), **constants)


def warps(block: int, lanes: int = LANES) -> int:
    """Return the warps of a program that holds `block` elements at a time, a power of two."""
    return max(1, min(block // (WIDE * lanes), MOST_THREADS // lanes))


def power_of_two(size: int) -> int:
    """Return the smallest power of two that is at least `size`, as a block requires."""
    return int(triton.next_power_of_2(size))


def rows(x: Tensor) -> Tensor:
    """Return [..., n] as contiguous [rows, n]; it is a copy only if x was not contiguous."""
    return x.reshape(-1, x.shape[-1]).contiguous()
