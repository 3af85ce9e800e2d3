"""Slipway's Triton kernels against float64, forward and gradients, on odd sizes: by Triton's interpreter, on the CPU.

Triton reads TRITON_INTERPRET when it is imported, so tests/kernels/test_triton.py runs this file in a process of its
own.
"""

from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from float64 import CONFIG, ERROR, close, gradients, random
from slipway.kernels import norms as torchs
from slipway.kernels.triton import norms, rotary, swiglu

# what fails is small enough: looking for smaller ones would take the interpreter minutes
EXAMPLES = settings(max_examples=12, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
DTYPES = st.sampled_from(list(ERROR))


def odd(*shape: int, dtype: torch.dtype, seed: int, strided: bool) -> Tensor:
    """Random numbers; strided: every second of a larger tensor's last dimension."""
    if not strided:
        return random(*shape, dtype=dtype, seed=seed)
    return random(*shape[:-1], 2 * shape[-1], dtype=dtype, seed=seed)[..., ::2]


def wide(*tensors: Tensor) -> list[Tensor]:
    return [each.detach().double().requires_grad_() for each in tensors]


def compare(
    got: Tensor, expected: Tensor, ours: list[Tensor], theirs: list[Tensor], dtype: torch.dtype
) -> None:
    """The values and all gradients; each gradient has the type of what it belongs to."""
    assert got.dtype == dtype
    close(got, expected, dtype)
    for each, found, right in zip(ours, gradients(got, ours), gradients(expected, theirs), strict=True):
        assert found.dtype == each.dtype
        close(found, right, dtype)


@pytest.mark.parametrize("kind", [norms.TritonLayerNorm, norms.TritonRMSNorm])
@EXAMPLES
@given(rows=st.integers(1, 10), width=st.integers(7, 300), dtype=DTYPES, strided=st.booleans())
def test_norm(kind: Any, rows: int, width: int, dtype: torch.dtype, strided: bool) -> None:
    """10 rows are three parts of a weight's gradient, the last of them not full."""
    norms.ROWS = 4
    norm = kind(CONFIG, width, eps=1e-5).to(dtype)
    with torch.no_grad():
        for seed, parameter in enumerate(norm.parameters()):
            parameter.copy_(random(width, dtype=dtype, seed=seed))
    x = odd(rows, 1, width, dtype=dtype, seed=3, strided=strided)
    parameters = list(norm.parameters())
    wide_x, weight, *bias = wide(x, *parameters)
    centred = wide_x - wide_x.mean(-1, keepdim=True) if bias else wide_x
    expected = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * weight
    expected = expected + bias[0] if bias else expected
    compare(norm(x), expected, [x, *parameters], [wide_x, weight, *bias], dtype)


@pytest.mark.parametrize("kind", [norms.TritonLayerNorm, norms.TritonRMSNorm])
def test_rows_shared_out_otherwise_give_the_same_gradients(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norms, "ROWS", 3)
    norm, x = kind(CONFIG, 33), random(10, 33, dtype=torch.float32, seed=1)
    once = gradients(norm(x), [x, *norm.parameters()])
    monkeypatch.setattr(norms, "PARTS", 1)
    again = gradients(norm(x), [x, *norm.parameters()])
    assert torch.equal(once[0], again[0])
    for found, right in zip(again[1:], once[1:], strict=True):
        close(found, right.double(), torch.float32)


def test_norms_are_torchs_modules_and_say_the_same_of_sequence_parallelism() -> None:
    config = type(CONFIG)(**{**vars(CONFIG), "sequence_parallel": True})
    for ours, theirs in ((norms.TritonLayerNorm, torchs.LayerNorm), (norms.TritonRMSNorm, torchs.RMSNorm)):
        norm = ours(config, 8)
        assert norm.state_dict().keys() == theirs(config, 8).state_dict().keys()
        assert all(getattr(parameter, "sequence_parallel") for parameter in norm.parameters())  # noqa: B009


@EXAMPLES
@given(
    rows=st.integers(1, 4),
    width=st.integers(1, 100),
    dtype=DTYPES,
    strided=st.booleans(),
    added=st.sampled_from(["nothing", "bias", "factor"]),
)
def test_swiglu(rows: int, width: int, dtype: torch.dtype, strided: bool, added: str) -> None:
    """In blocks of at most 32 channels, so that a row is up to four of them."""
    swiglu.BLOCK = 32
    x = odd(rows, 2 * width, dtype=dtype, seed=1, strided=strided)
    wide_x = wide(x)[0]
    gate, up = wide_x.chunk(2, dim=-1)
    if added == "bias":
        bias = random(2 * width, dtype=dtype, seed=2)
        wide_bias = wide(bias)[0]
        gate, up = (wide_x + wide_bias).chunk(2, dim=-1)
        got, ours, theirs = swiglu.bias_swiglu_impl(x, bias), [x, bias], [wide_x, wide_bias]
    elif added == "factor":  # a mixture's probabilities are fp32
        factor = random(rows, 1, dtype=torch.float32, seed=2)
        wide_factor = wide(factor)[0]
        got = swiglu.weighted_bias_swiglu_impl(x, None, factor)
        ours, theirs = [x, factor], [wide_x, wide_factor]
    else:
        got, ours, theirs = swiglu.bias_swiglu_impl(x, None), [x], [wide_x]
    expected = gate / (1 + torch.exp(-gate)) * up
    compare(got, expected * wide_factor if added == "factor" else expected, ours, theirs, dtype)


def test_swiglu_keeps_its_input_in_fp8_where_it_is_told_to() -> None:
    """As Megatron-core's function: the values are those of the input, the gradients those of what was kept."""
    x = random(3, 2, 40, dtype=torch.bfloat16, seed=1)
    bias = random(40, dtype=torch.bfloat16, seed=2)
    rounded = x.detach().to(torch.float8_e4m3fn).to(torch.bfloat16).requires_grad_()
    got, plain = (swiglu.bias_swiglu_impl(x, bias, kept) for kept in (True, False))
    assert torch.equal(got, plain)
    of_rounded = gradients(swiglu.bias_swiglu_impl(rounded, bias), [rounded])[0]
    assert torch.equal(gradients(got, [x])[0], of_rounded)
    assert not torch.equal(gradients(plain, [x])[0], of_rounded)


def test_swiglu_marks_what_is_moved_to_the_host() -> None:
    x, bias = (random(*shape, dtype=torch.float32, seed=1) for shape in ((2, 4), (4,)))
    swiglu.bias_swiglu_impl(x, bias, cpu_offload_input=True)
    assert x.activation_offloading and bias.activation_offloading  # type: ignore[attr-defined]


@EXAMPLES
@given(
    length=st.integers(1, 3),
    batch=st.integers(1, 2),
    heads=st.integers(1, 6),
    pairs=st.integers(1, 9),
    rest=st.integers(0, 5),
    dtype=DTYPES,
    place=st.sampled_from(["alone", "in_qkv", "strided"]),
)
def test_rotary(
    length: int, batch: int, heads: int, pairs: int, rest: int, dtype: torch.dtype, place: str
) -> None:
    """As a product of complex numbers; in_qkv: a view of grouped queries, as Megatron-core splits them."""
    rotary.PAIRS = 16  # so that a token's heads are up to six blocks
    size = 2 * pairs + rest
    if place == "in_qkv":
        x = random(length, batch, heads, 3 * size, dtype=dtype, seed=1)[..., size : 2 * size]
    else:
        x = odd(length, batch, heads, size, dtype=dtype, seed=1, strided=place == "strided")
    half = torch.rand(length, 1, 1, pairs, generator=torch.Generator().manual_seed(2)) * 100
    wide_x = wide(x)[0]
    first, second, others = wide_x.split([pairs, pairs, rest], dim=-1)
    product = torch.complex(first, second) * torch.polar(torch.ones_like(half.double()), half.double())
    expected = torch.cat([product.real, product.imag, others], dim=-1)
    compare(rotary.rotary(x, torch.cat([half, half], dim=-1)), expected, [x], [wide_x], dtype)


def test_what_lies_far_away_in_memory_is_found() -> None:
    """Offsets beyond 2^31 elements; only the pages that are used exist."""
    far = 2**30 + 8
    whole = torch.empty(2 * far + 4, dtype=torch.bfloat16)
    x = whole.as_strided((3, 1, 1, 4), (far, 4, 4, 1))
    x.copy_(random(3, 1, 1, 4, dtype=torch.bfloat16, seed=1).detach())
    angles = torch.zeros(3, 1, 1, 4)
    assert torch.equal(rotary.rotary(x, angles), x)


@pytest.mark.parametrize("kind", [norms.TritonLayerNorm, norms.TritonRMSNorm])
def test_nothing_is_no_error(kind: Any) -> None:
    """An expert that no token was sent to."""
    norm, x = kind(CONFIG, 8), torch.empty(0, 8, requires_grad=True)
    for found in gradients(norm(x), [x, *norm.parameters()]):
        assert not found.count_nonzero()
    factor = torch.empty(0, 1, requires_grad=True)
    got = swiglu.weighted_bias_swiglu_impl(x, None, factor)
    assert got.shape == (0, 4) and [found.numel() for found in gradients(got, [x, factor])] == [0, 0]
    assert rotary.rotary(torch.empty(0, 1, 2, 4), torch.empty(0, 1, 1, 4)).shape == (0, 1, 2, 4)


def test_torchs_compiler_takes_them_whole() -> None:
    """Within one graph, forward and backward: it knows them by their shapes."""
    norm, x = norms.TritonRMSNorm(CONFIG, 24), random(3, 2, 24, dtype=torch.float32, seed=1)
    angles = torch.ones(3, 1, 1, 12)

    def layer(x: Tensor) -> Tensor:
        active = swiglu.bias_swiglu_impl(norm(x).repeat(1, 1, 2), None)
        return rotary.rotary(active.view(3, 2, 2, 12), angles)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for got, expected in zip(
        (compiled(x), *gradients(compiled(x), [x, norm.weight])),
        (layer(x), *gradients(layer(x), [x, norm.weight])),
        strict=True,
    ):
        assert torch.equal(got, expected)
