"""Rotary position embedding against float64, forward and gradients, on odd sizes."""

import pytest
import torch

from float64 import ERROR, close, gradients, random
from slipway.kernels.rotary import rotary


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize(("size", "turned"), [(2, 2), (24, 24), (24, 10)])
@pytest.mark.parametrize("length", [1, 13])
def test_rotary(dtype: torch.dtype, size: int, turned: int, length: int) -> None:
    """The function that the compiler gets on a GPU; as a product of complex numbers in float64."""
    x = random(length, 3, 5, size, dtype=dtype, seed=1)
    half = torch.rand(length, 1, 1, turned // 2, generator=torch.Generator().manual_seed(2)) * 100
    got = rotary(x, torch.cat([half, half], dim=-1))

    wide = x.detach().double().requires_grad_()
    first, second, rest = wide.split([turned // 2, turned // 2, size - turned], dim=-1)
    product = torch.complex(first, second) * torch.polar(torch.ones_like(half.double()), half.double())
    expected = torch.cat([product.real, product.imag, rest], dim=-1)
    close(got, expected, dtype)
    close(gradients(got, [x])[0], gradients(expected, [wide])[0], dtype)
