"""Tensor-parallel linear layers against float64: outputs, gradients, and gradients added to the main gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from gloo_ranks import run_cases
from slipway.kernels.linear import _linear

BATCH, IN = 3, 7  # odd
ROWS = 5  # of the weight, on each rank
# largest error over the largest entry of the float64 result; gradients of input and weight are sums over ranks
ERRORS = {torch.float32: 1e-6, torch.bfloat16: 2e-2}


def inputs(size: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x [s, b, in], weight [out, in], bias [out], and the gradient of the output [s, b, out]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4 * size, BATCH, IN), (ROWS * size, IN), (ROWS * size,), (4 * size, BATCH, ROWS * size)]
    x, weight, bias, upstream = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return x, weight, bias, upstream


def reference(x: Tensor, weight: Tensor, bias: Tensor, upstream: Tensor) -> list[Tensor]:
    """Output, and the gradients of x, weight and bias, in float64."""
    wide = [each.detach().double().requires_grad_() for each in (x, weight, bias)]
    output = torch.nn.functional.linear(*wide)
    return [output.detach(), *torch.autograd.grad(output, wide, upstream.double())]


def close(got: Tensor | None, expected: Tensor, dtype: torch.dtype) -> None:
    assert got is not None
    error = ((got.double() - expected).abs().max() / expected.abs().max()).item()
    assert error < ERRORS[dtype], f"{error:.2g}"


def group() -> Any:
    return dist.group.WORLD


def column(rank: int, size: int, dtype: torch.dtype, sequence_parallel: bool) -> None:
    """Each rank has some rows of the weight; with sequence parallelism also only a part of the sequence."""
    x, weight, bias, upstream = inputs(size, dtype)
    expected = reference(x, weight, bias, upstream)
    own_x = (x.chunk(size)[rank] if sequence_parallel else x).clone().requires_grad_()
    own_weight, own_bias = (each.chunk(size)[rank].clone().requires_grad_() for each in (weight, bias))
    output = _linear(
        own_x,
        own_weight,
        bias=own_bias,
        allreduce_dgrad=size > 1 and not sequence_parallel,
        sequence_parallel=sequence_parallel,
        tp_group=group(),
    )
    output.backward(upstream.chunk(size, dim=-1)[rank])
    close(output, expected[0].chunk(size, dim=-1)[rank], dtype)
    close(own_x.grad, expected[1].chunk(size)[rank] if sequence_parallel else expected[1], dtype)
    close(own_weight.grad, expected[2].chunk(size)[rank], dtype)
    close(own_bias.grad, expected[3].chunk(size)[rank], dtype)


CASES: dict[str, tuple[Callable, tuple]] = {
    f"{str(dtype)[6:]}{', sequence parallel' if parallel else ''}": (column, (dtype, parallel))
    for dtype in ERRORS
    for parallel in (False, True)
}


@pytest.fixture(scope="module", params=[1, 2, 4], ids=["tp1", "tp2", "tp4"])
def failures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong on any rank, by case."""
    return run_cases(CASES, request.param, tmp_path_factory.mktemp("store") / "file")


@pytest.mark.parametrize("case", CASES)
def test_on_ranks(failures: dict[str, str], case: str) -> None:
    assert case not in failures, failures[case]


def alone(x: Tensor, weight: Tensor) -> Tensor:
    return _linear(x, weight, bias=None, allreduce_dgrad=False, sequence_parallel=False, tp_group=None)


@pytest.mark.parametrize("main_dtype", [torch.float32, torch.float64])
def test_gradients_of_microbatches_add_up_in_the_main_gradient(main_dtype: torch.dtype) -> None:
    """As data parallelism's hook finds them, the first one written; in another dtype they go the usual way."""
    weight: Any = inputs(1, torch.float32)[1].requires_grad_()
    before = float("nan") if main_dtype == torch.float32 else 0.0  # what is written over need not be zero
    weight.main_grad, weight.grad_added_to_main_grad = (
        torch.full_like(weight, before, dtype=main_dtype),
        False,
    )
    in_place = []

    def hook(parameter: Any) -> None:
        assert parameter.grad is not None, "overlapped reductions wait for the hook"
        in_place.append(parameter.grad_added_to_main_grad)
        if not parameter.grad_added_to_main_grad:
            parameter.main_grad.add_(parameter.grad)
        parameter.grad = None

    weight.register_post_accumulate_grad_hook(hook)
    expected = torch.zeros(weight.shape, dtype=torch.float64)
    for seed in (1, 2):
        x, _, bias, upstream = inputs(1, torch.float32, seed)
        alone(x.requires_grad_(), weight).backward(upstream)
        expected += reference(x, weight, bias, upstream)[2]
    assert in_place == [main_dtype == torch.float32] * 2
    close(weight.main_grad, expected, torch.float32)


def test_a_weight_with_another_use_gets_the_sum_of_both() -> None:
    """Autograd adds the gradients of a shared embedding's two uses: there none may be left out."""
    x, weight, _, upstream = inputs(1, torch.float32)
    shared: Any = weight.requires_grad_()
    shared.grad_added_to_main_grad, shared.zero_out_wgrad = False, True
    shared.main_grad = torch.zeros_like(shared)
    (alone(x, shared) * upstream).sum().backward()
    assert not shared.grad_added_to_main_grad and not shared.main_grad.any()
    close(shared.grad, reference(x, weight, torch.zeros(ROWS), upstream)[2], torch.float32)


def test_frozen_weights_and_inputs() -> None:
    x, weight, bias, upstream = inputs(1, torch.float32)
    expected = reference(x, weight, bias, upstream)
    alone(x.requires_grad_(), weight).backward(upstream)
    close(x.grad, expected[1], torch.float32)
    assert weight.grad is None
