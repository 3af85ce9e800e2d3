"""Comparing kernels with float64: random inputs, gradients, and errors stated per dtype."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

# largest error relative to the largest value
ERROR = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
CONFIG: Any = SimpleNamespace(
    attention_dropout=0.0, context_parallel_size=1, sequence_parallel=False, params_dtype=torch.float32
)


def close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    error = (got.double() - expected).abs().max() / expected.abs().max()
    assert error < ERROR[dtype], f"{error:.2g}"


def random(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return list(torch.autograd.grad((output.double() * weight).sum(), inputs))
