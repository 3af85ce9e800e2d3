"""LayerNorm (Ba et al. 2016, arXiv 1607.06450) and RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467).

Forward reads x and writes y; backward reads x and y's gradient once, writes x's, and computes the weight's in the same
pass. Statistics and sums are in fp32. A program of the backward pass processes its rows in order and writes its part of
the weight's gradient; the parts are summed afterwards. The order never changes, so results are bitwise reproducible.
"""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from slipway.kernels.norms import LayerNorm, RMSNorm
from slipway.kernels.triton.operators import launch, operator, power_of_two, rows

# the fewest rows of a program of the backward pass: its part costs as much memory traffic as a row or two
ROWS = 16
PARTS = 512  # the most programs of the backward pass: several for each of a GPU's 100 to 300 processors


@triton.jit
def forward_kernel(
    x, weight, bias, y, mean, scale, width, epsilon, CENTRED: tl.constexpr, BLOCK: tl.constexpr
):
    """Normalize one row. CENTRED: LayerNorm, with bias and mean."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32)
    if CENTRED:
        middle = tl.sum(value, axis=0) / width
        tl.store(mean + row, middle)
        value = tl.where(inside, value - middle, 0.0)
    inverse = tl.rsqrt(tl.sum(value * value, axis=0) / width + epsilon)
    tl.store(scale + row, inverse)
    result = value * inverse * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if CENTRED:
        result += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * width + column, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(
    gradient,
    x,
    weight,
    mean,
    scale,
    grad_x,
    weight_parts,
    bias_parts,
    count,
    each,
    width,
    CENTRED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the gradients of `each` consecutive rows of `count`."""
    part = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    of_weight = tl.zeros([BLOCK], dtype=tl.float32)
    of_bias = tl.zeros([BLOCK], dtype=tl.float32)
    first = part * each
    for row in range(first, tl.minimum(first + each, count)):
        incoming = tl.load(gradient + row * width + column, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32)
        inverse = tl.load(scale + row)
        if CENTRED:
            value = value - tl.load(mean + row)
            of_bias += incoming
        normal = value * inverse  # arbitrary beyond the width: incoming is zero there
        of_weight += incoming * normal
        # the weight is read again for each row: it stays in the cache, and its registers are needed
        change = incoming * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
        along = tl.sum(change * normal, axis=0) / width
        if CENTRED:
            change = change - tl.sum(change, axis=0) / width
        change = (change - normal * along) * inverse
        tl.store(grad_x + row * width + column, change.to(grad_x.dtype.element_ty), mask=inside)
    tl.store(weight_parts + part * width + column, of_weight, mask=inside)
    if CENTRED:
        tl.store(bias_parts + part * width + column, of_bias, mask=inside)


def _normalized(x: Tensor, weight: Tensor, bias: Tensor | None, epsilon: float) -> tuple[Tensor, ...]:
    """Return y, and each row's mean (for LayerNorm, else empty) and inverse deviation in fp32, not filled."""
    count = x.numel() // x.shape[-1]
    statistics = [x.new_empty(size, dtype=torch.float32) for size in (0 if bias is None else count, count)]
    return x.new_empty(x.shape), *statistics


@operator(
    "norm(Tensor x, Tensor weight, Tensor? bias, float epsilon) -> (Tensor, Tensor, Tensor)", _normalized
)
def _norm(x: Tensor, weight: Tensor, bias: Tensor | None, epsilon: float) -> tuple[Tensor, ...]:
    found = _normalized(x, weight, bias, epsilon)
    source, width = rows(x), x.shape[-1]
    block = power_of_two(width)
    launch(
        forward_kernel,
        (len(source),),
        *(source, weight, bias, *found, width, epsilon),
        block=block,
        CENTRED=bias is not None,
        BLOCK=block,
    )
    return found


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, centred: bool
) -> tuple[Tensor, ...]:
    """Return the gradients of x, of the weight, [parts, h], and of the bias (empty for RMSNorm), not filled.

    Parts are in fp32.
    """
    parts = -(-len(scale) // _each(len(scale)))
    sizes = (parts, parts if centred else 0)
    return x.new_empty(x.shape), *(weight.new_empty(n, len(weight), dtype=torch.float32) for n in sizes)


@operator(
    "norm_backward(Tensor gradient, Tensor x, Tensor weight, Tensor mean, Tensor scale, bool centred)"
    " -> (Tensor, Tensor, Tensor)",
    _gradients,
)
def _norm_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, centred: bool
) -> tuple[Tensor, ...]:
    found = _gradients(gradient, x, weight, mean, scale, centred)
    source, count, width = rows(x), len(scale), x.shape[-1]
    block = power_of_two(width)
    launch(
        backward_kernel,
        (len(found[1]),),
        *(rows(gradient), source, weight, mean, scale, *found, count, _each(count), width),
        block=block,
        CENTRED=centred,
        BLOCK=block,
    )
    return found


def _each(count: int) -> int:
    """Return the rows of each program of the backward pass."""
    return max(ROWS, -(-count // PARTS))


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, epsilon: float) -> Tensor:
        y, mean, scale = _norm(x, weight, bias, epsilon)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.centred = bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        weight = ctx.saved_tensors[1]
        grad_x, of_weight, of_bias = _norm_backward(gradient, *ctx.saved_tensors, ctx.centred)
        grad_bias = of_bias.sum(0).to(weight.dtype) if ctx.centred else None
        return grad_x, of_weight.sum(0).to(weight.dtype), grad_bias, None


class TritonLayerNorm(LayerNorm):
    """LayerNorm in Triton, with torch's parameters."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized input, [..., h], in the same shape."""
        return _Norm.apply(input, self.weight, self.bias, self.eps)


class TritonRMSNorm(RMSNorm):
    """RMSNorm in Triton, with torch's parameter."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input, [..., h], in the same shape."""
        return _Norm.apply(x, self.weight, None, self.eps)
