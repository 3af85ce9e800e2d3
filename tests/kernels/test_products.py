"""Products by oneDNN, against float64 and torch's own."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from refusals import refused
from slipway.kernels import products
from slipway.kernels.linear import _Linear
from slipway.kernels.products import WORTHWHILE


@pytest.fixture(autouse=True)
def _torchs_afterwards() -> Iterator[None]:
    yield
    products.use("torch")


def tensors(
    rows: int, inner: int, out: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = ((rows, 3, inner), (out, inner), (out,))
    x, weight, bias = (torch.randn(size, generator=generator, dtype=dtype) for size in sizes)
    return x, weight, bias


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_as_in_float64(with_bias: bool, transposed: bool) -> None:
    x, weight, bias = tensors(61, 127, 243)
    assert x.numel() * len(weight) >= WORTHWHILE
    weight = weight.t().contiguous().t() if transposed else weight
    products.use("onednn")
    found = products.linear(x, weight, bias if with_bias else None)
    exact = x.double() @ weight.double().t() + (bias.double() if with_bias else 0)
    assert found.shape == (61, 3, 243) and found.is_contiguous()
    assert ((found - exact).abs().max() / exact.abs().max()).item() < 2e-6


def calls(monkeypatch: pytest.MonkeyPatch, *sizes: int, dtype: torch.dtype = torch.float32) -> int:
    """How often oneDNN is called for a product."""
    found: list[int] = []
    by_onednn = products.by_onednn
    monkeypatch.setattr(products, "by_onednn", lambda *words: found.append(1) or by_onednn(*words))
    products.linear(*tensors(*sizes, dtype=dtype))
    return len(found)


def test_it_is_called_where_it_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls(monkeypatch, 61, 127, 243) == 0  # torch's, unless chosen
    products.use("onednn")
    assert calls(monkeypatch, 61, 127, 243) == 1
    assert calls(monkeypatch, 3, 8, 8) == 0
    assert calls(monkeypatch, 61, 127, 243, dtype=torch.bfloat16) == 0


def test_a_torch_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with refused("kernels.product", value="onednn", use="torch"):
        products.use("onednn")


def test_a_linear_layers_gradients_are_those_of_float64() -> None:
    """The input's gradient is a product with the weight turned round."""
    x, weight, bias = (one.requires_grad_() for one in tensors(61, 127, 243))
    exact = [one.detach().double().requires_grad_() for one in (x, weight, bias)]
    products.use("onednn")
    found = _Linear.apply(x, weight, bias, None, False, False)
    expected = torch.nn.functional.linear(*exact)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    got = torch.autograd.grad(found, (x, weight, bias), upstream)
    for one, other in zip(got, torch.autograd.grad(expected, exact, upstream.double()), strict=True):
        assert ((one - other).abs().max() / other.abs().max()).item() < 2e-6
