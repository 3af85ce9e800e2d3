"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864) in one pass over memory, sines and cosines included."""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from slipway.kernels.triton.operators import launch, operator, power_of_two

PAIRS = 256  # pairs of a token's heads at a time, about: one warp, since each computes the sines and cosines it needs


@triton.jit
def kernel(
    x,
    angles,
    y,
    sequence_stride,
    batch_stride,
    head_stride,
    angle_stride,
    batch,
    heads,
    channels,
    half,
    BACK: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    REST: tl.constexpr,
):
    """Rotate one token of one sample, HEADS heads at a time. REST: room for channels that pass unchanged, or 0."""
    token = tl.program_id(0).to(tl.int64)
    position, sample = token // batch, token % batch
    channel = tl.arange(0, HALF)
    angle = tl.load(angles + position * angle_stride + channel, mask=channel < half, other=0.0)
    cos, sin = tl.cos(angle)[None, :], tl.sin(angle)[None, :]
    if BACK:
        sin = -sin
    pair = channel[None, :]
    for start in range(0, heads, HEADS):
        head = start + tl.arange(0, HEADS)[:, None]
        inside = (head < heads) & (pair < half)
        source = x + position * sequence_stride + sample * batch_stride + head * head_stride
        target = y + (token * heads + head) * channels
        first = tl.load(source + pair, mask=inside, other=0.0).to(tl.float32)
        second = tl.load(source + half + pair, mask=inside, other=0.0).to(tl.float32)
        tl.store(target + pair, (first * cos - second * sin).to(y.dtype.element_ty), mask=inside)
        tl.store(target + half + pair, (second * cos + first * sin).to(y.dtype.element_ty), mask=inside)
        if REST:
            rest = 2 * half + tl.arange(0, REST)[None, :]
            there = (head < heads) & (rest < channels)
            tl.store(target + rest, tl.load(source + rest, mask=there), mask=there)


def _like(x: Tensor, angles: Tensor, back: bool) -> Tensor:
    return x.new_empty(x.shape)


@operator("rotary(Tensor x, Tensor angles, bool back) -> Tensor", _like)
def _turn(x: Tensor, angles: Tensor, back: bool) -> Tensor:
    """Return x with its pairs rotated by the angles; back: in the opposite direction."""
    if x.stride(-1) != 1:  # the kernel takes any other stride
        x = x.contiguous()
    y = _like(x, angles, back)
    sequence, batch, heads, channels = x.shape
    half = angles.shape[-1] // 2
    wide = power_of_two(half)
    block = min(power_of_two(heads), max(1, PAIRS // wide))
    rest = channels - 2 * half
    launch(
        kernel,
        (sequence * batch,),
        *(x, angles, y, *x.stride()[:3], angles.stride(0), batch, heads, channels, half),
        block=2 * block * wide,
        BACK=back,
        HEADS=block,
        HALF=wide,
        REST=power_of_two(rest) if rest else 0,
    )
    return y


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, angles: Tensor) -> Tensor:
        ctx.save_for_backward(angles)
        return _turn(x, angles, False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (angles,) = ctx.saved_tensors
        return _turn(gradient, angles, True), None


def rotary(x: Tensor, angles: Tensor, interleaved: bool = False) -> Tensor:
    """Rotate each pair (x[i], x[i + d/2]) of the first d channels by angles[..., i]; return the shape of x.

    See slipway.kernels.rotary.
    """
    assert not interleaved, "pairs are half the width apart"
    assert angles.shape[:3] == (x.shape[0], 1, 1) and angles.stride(-1) == 1 and angles.dtype == torch.float32
    return _Rotary.apply(x, angles)
