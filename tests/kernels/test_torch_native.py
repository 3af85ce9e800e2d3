"""torch's kernels against float64, forward and gradients, on odd sizes: errors stated per dtype."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from megatron.core.transformer.enums import AttnMaskType
from torch import Tensor

from slipway.kernels.rotary import rotary
from slipway.kernels.torch_native import LayerNorm, RMSNorm, TorchAttention

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


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (5, 1)])
@pytest.mark.parametrize("mask", [AttnMaskType.causal, AttnMaskType.no_mask])
@pytest.mark.parametrize("length", [1, 13, 64])
def test_attention(dtype: torch.dtype, heads: int, groups: int, mask: AttnMaskType, length: int) -> None:
    batch, size = 3, 24
    attention = TorchAttention(CONFIG, 1, mask, "self")
    query = random(length, batch, heads, size, dtype=dtype, seed=1)
    key = random(length, batch, groups, size, dtype=dtype, seed=2)
    value = random(length, batch, groups, size, dtype=dtype, seed=3)
    got = attention(query, key, value)

    wide = [x.detach().double().requires_grad_() for x in (query, key, value)]
    q, k, v = (x.permute(1, 2, 0, 3) for x in wide)
    k, v = (x.repeat_interleave(heads // groups, dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / size**0.5
    if mask is AttnMaskType.causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    expected = (F.softmax(scores, -1) @ v).permute(2, 0, 1, 3).reshape(length, batch, heads * size)

    close(got, expected, dtype)
    for ours, theirs in zip(gradients(got, [query, key, value]), gradients(expected, wide), strict=True):
        if theirs.abs().max() > 1e-9:  # of one key the scores have no gradient
            close(ours, theirs, dtype)


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
