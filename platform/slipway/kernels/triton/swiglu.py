"""SwiGLU (Shazeer 2020, arXiv 2002.05202): silu(gate) * up, in one pass over memory forward and one backward.

It replaces Megatron-core's functions, with their arguments and features: it adds the bias of the layer before,
multiplies by a factor for each token (a mixture's probabilities), can keep the input in FP8, and marks what is moved to
the host's memory. It computes in fp32.
"""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from slipway.kernels.triton.operators import launch, operator, power_of_two, rows

BLOCK = 2048  # the most channels at a time


@triton.jit
def forward_kernel(x, bias, factor, y, width, BLOCK: tl.constexpr):
    """Compute one token: [gate, up] of `width` each. bias and factor: None if there is none."""
    row = tl.program_id(0).to(tl.int64)
    gates, ups = x + row * 2 * width, x + row * 2 * width + width
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < width
        gate = tl.load(gates + column, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(ups + column, mask=inside, other=0.0).to(tl.float32)
        if bias is not None:
            gate += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
            up += tl.load(bias + width + column, mask=inside, other=0.0).to(tl.float32)
        result = gate * tl.sigmoid(gate) * up
        if factor is not None:
            result *= tl.load(factor + row).to(tl.float32)
        tl.store(y + row * width + column, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(gradient, x, bias, factor, grad_x, grad_factor, width, BLOCK: tl.constexpr):
    """Compute one token's gradients. d silu(g) / dg = s + g s (1 - s) with s = sigmoid(g)."""
    row = tl.program_id(0).to(tl.int64)
    gates, ups = x + row * 2 * width, x + row * 2 * width + width
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < width
        incoming = tl.load(gradient + row * width + column, mask=inside, other=0.0).to(tl.float32)
        gate = tl.load(gates + column, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(ups + column, mask=inside, other=0.0).to(tl.float32)
        if bias is not None:
            gate += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
            up += tl.load(bias + width + column, mask=inside, other=0.0).to(tl.float32)
        share = tl.sigmoid(gate)
        active = gate * share
        if factor is not None:
            total += incoming * active * up
            incoming *= tl.load(factor + row).to(tl.float32)
        of_gate = incoming * up * (share + active * (1.0 - share))
        of_up = incoming * active
        target = grad_x + row * 2 * width + column
        tl.store(target, of_gate.to(grad_x.dtype.element_ty), mask=inside)
        tl.store(target + width, of_up.to(grad_x.dtype.element_ty), mask=inside)
    if factor is not None:
        tl.store(grad_factor + row, tl.sum(total, axis=0).to(grad_factor.dtype.element_ty))


def _half(x: Tensor, bias: Tensor | None, factor: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], x.shape[-1] // 2)


@operator("swiglu(Tensor x, Tensor? bias, Tensor? factor) -> Tensor", _half)
def _swiglu(x: Tensor, bias: Tensor | None, factor: Tensor | None) -> Tensor:
    y, source = _half(x, bias, factor), rows(x)
    width = y.shape[-1]
    block = min(BLOCK, power_of_two(width))
    launch(forward_kernel, (len(source),), source, bias, factor, y, width, block=block, BLOCK=block)
    return y


def _gradients(
    gradient: Tensor, x: Tensor, bias: Tensor | None, factor: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and of factor (empty if there is none), not filled."""
    return x.new_empty(x.shape), x.new_empty(0) if factor is None else factor.new_empty(factor.shape)


@operator(
    "swiglu_backward(Tensor gradient, Tensor x, Tensor? bias, Tensor? factor) -> (Tensor, Tensor)", _gradients
)
def _swiglu_backward(
    gradient: Tensor, x: Tensor, bias: Tensor | None, factor: Tensor | None
) -> tuple[Tensor, Tensor]:
    grad_x, grad_factor = _gradients(gradient, x, bias, factor)
    source, incoming = rows(x), rows(gradient)
    width = incoming.shape[-1]
    block = min(BLOCK, power_of_two(width))
    launch(
        backward_kernel,
        (len(source),),
        *(incoming, source, bias, factor, grad_x, grad_factor, width),
        block=block,
        BLOCK=block,
    )
    return grad_x, grad_factor


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, factor: Tensor | None, keep_fp8: bool, offload: bool
    ) -> Tensor:
        kept = x.to(torch.float8_e4m3fn) if keep_fp8 else x
        if offload:
            for each in (kept, bias):
                if each is not None:
                    each.activation_offloading = True  # type: ignore[attr-defined]
        ctx.save_for_backward(kept, bias, factor)
        ctx.dtype = x.dtype
        return _swiglu(x, bias, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        kept, bias, factor = ctx.saved_tensors
        grad_x, grad_factor = _swiglu_backward(gradient, kept.to(ctx.dtype), bias, factor)
        grad_bias = None
        if bias is not None:
            grad_bias = rows(grad_x).sum(0, dtype=torch.float32).to(bias.dtype)
        return grad_x, grad_bias, None if factor is None else grad_factor, None, None


def bias_swiglu_impl(
    input: Tensor, bias: Tensor | None, fp8_input_store: bool = False, cpu_offload_input: bool = False
) -> Tensor:
    """Return silu of the first half times the second half, [..., f], of input [..., 2 f] plus bias [2 f]."""
    return _SwiGLU.apply(input, bias, None, fp8_input_store, cpu_offload_input)


def weighted_bias_swiglu_impl(
    input: Tensor, bias: Tensor | None, weights: Tensor, fp8_input_store: bool = False
) -> Tensor:
    """Return SwiGLU times the weights [..., 1], [..., f], of input [..., 2 f], in the input's dtype. bias: None."""
    assert bias is None, "experts have no biases"
    return _SwiGLU.apply(input, None, weights.contiguous(), fp8_input_store, False)
