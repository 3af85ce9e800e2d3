"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864) in one pass over memory, by torch's compiler."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def use(backend: str) -> None:
    """Make Megatron-core's layers with apply_rope_fusion call this backend's function from now on."""
    from megatron.core.models.common.embeddings import rope_utils

    module: Any = rope_utils
    if backend == "torch":
        module.fused_apply_rotary_pos_emb = rotary
    elif backend == "triton":
        from slipway.kernels.triton import rotary as by_triton

        module.fused_apply_rotary_pos_emb = by_triton.rotary
    elif backend == "te":
        from megatron.core.extensions.transformer_engine import fused_apply_rotary_pos_emb

        module.fused_apply_rotary_pos_emb = fused_apply_rotary_pos_emb


def rotary(x: Tensor, angles: Tensor, interleaved: bool = False) -> Tensor:
    """Rotate each pair (x[i], x[i + d/2]) of the first d channels by angles[..., i]; return the shape of x.

    x: [s, b, n, channels]; angles: [s, 1, 1, d] in fp32, with equal halves, as in Megatron-core. Channels beyond d pass
    unchanged.
    """
    assert not interleaved, "pairs are half the width apart"
    half = angles.shape[-1] // 2
    return _Rotary.apply(x, torch.cos(angles[..., :half]), torch.sin(angles[..., :half]))


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _turn(gradient, cos, -sin), None, None  # back by the same angle


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (_compiled() if x.is_cuda else _one_pass)(x, cos, sin)


def _one_pass(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs in fp32. Compiled, one kernel reads x once and writes the result once."""
    half = cos.shape[-1]
    first, second = x[..., :half].float(), x[..., half : 2 * half].float()
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
    return torch.cat([turned, x[..., 2 * half :]], dim=-1)


@cache
def _compiled() -> Any:
    return torch.compile(_one_pass)
