"""torch's norms against float64, forward and gradients, on odd sizes."""

from typing import Any

import pytest
import torch

from float64 import CONFIG, ERROR, close, gradients, random
from slipway.kernels.norms import LayerNorm, RMSNorm


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("hidden", [1, 7, 129])
def test_norm(kind: Any, dtype: torch.dtype, hidden: int) -> None:
    norm = kind(CONFIG, hidden, eps=1e-5).to(dtype)
    x = random(5, 3, hidden, dtype=dtype, seed=1)
    got = norm(x)
    wide = x.detach().double().requires_grad_()
    weight = norm.weight.detach().double()
    if kind is RMSNorm:
        expected = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5) * weight
    else:
        centred = wide - wide.mean(-1, keepdim=True)
        expected = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * weight
        expected = expected + norm.bias.detach().double()
    if hidden > 1:
        close(got, expected, dtype)
        close(gradients(got, [x])[0], gradients(expected, [wide])[0], dtype)
    else:  # the mean of one value leaves nothing
        assert torch.isfinite(got).all()
