"""Each operator that `slipway bench kernels` builds, in float64 and plain formulas: the reference for its results.

Written apart from the kernels and from Megatron-core. A function takes the call that was seen, with its inputs in
float64 as leaves, and returns the output. Imports torch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slipway.bench.kernel_cases import Seen
from slipway.bench.kernel_counts import DOCUMENTS
from slipway.config.schema import RunConfig
from slipway.models.gpt.config import gpt_of

Truth = Callable[[RunConfig, Sequence[Tensor], Seen], Any]
EPSILON, LEARNING_RATE, DECAY = 1e-8, 0.1, 0.1  # those of build_adamw, and the defaults of all its backends


def layer_norm(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return LayerNorm of [s, b, h]: Ba et al. 2016, arXiv 1607.06450."""
    x, weight, bias = inputs
    centred = x - x.mean(-1, keepdim=True)
    return rms_norm(config, [centred, weight], seen) + bias


def rms_norm(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return RMSNorm of [s, b, h]: Zhang and Sennrich 2019, arXiv 1910.07467."""
    x, weight = inputs
    return x / (x.square().mean(-1, keepdim=True) + gpt_of(config).norm_epsilon).sqrt() * weight


def attention(config: RunConfig, inputs: Sequence[Tensor], seen: Seen, documents: int = 1) -> Tensor:
    """Return causal attention, with whole scores: q, k, v [s, b, heads, d] -> [s, b, heads * d]."""
    q, k, v = (x.permute(1, 2, 0, 3) for x in inputs)
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    position = torch.arange(q.shape[2])
    document = position // -(-len(position) // documents)
    seen_keys = (position[:, None] >= position) & (document[:, None] == document)
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~seen_keys, float("-inf"))
    return (scores.softmax(-1) @ v).permute(2, 0, 1, 3).flatten(2)


def attention_documents(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return causal attention within each document: q, k, v [s, b, heads, d] -> [s, b, heads * d]."""
    return attention(config, inputs, seen, DOCUMENTS)


def swiglu(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return SwiGLU, [..., 2f] -> [..., f]: Shazeer 2020, arXiv 2002.05202; the first half is the gate."""
    gate, up = inputs[0].chunk(2, dim=-1)
    return gate / (1 + (-gate).exp()) * up


def mlp(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return two products around GELU (exact) or SwiGLU, [s, b, h] -> [s, b, h].

    A last bias that the layer hands on is not in its output.
    """
    x, *rest = inputs
    first, second = (w for w in rest if w.dim() == 2)
    biases = [w for w in rest if w.dim() == 1]
    wide = F.linear(x, first, biases[0] if biases else None)
    narrow = _activated(config, wide) @ second.t()
    return narrow + biases[1] if biases and seen.gradients[-1] is not None else narrow


def _activated(config: RunConfig, wide: Tensor) -> Tensor:
    if gpt_of(config).activation == "swiglu":
        return swiglu(config, [wide], None)  # type: ignore[arg-type]
    return wide * (1 + torch.erf(wide / 2**0.5)) / 2


def experts(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return each expert's output for its own rows times the router's probability, [rows, h] -> [rows, h]."""
    x, *weights = inputs
    hidden = x.shape[-1]
    whole = [part for w in weights for part in (w.unbind() if w.dim() == 3 else [w])]
    firsts = [w for w in whole if w.shape[-1] == hidden]
    seconds = [w for w in whole if w.shape[-1] != hidden]
    counts = seen.given["of_expert"].tolist()
    probabilities = seen.given["probabilities"].detach().double().cpu()[:, None]
    parts = zip(x.split(counts), probabilities.split(counts), firsts, seconds, strict=True)
    return torch.cat(
        [_activated(config, own @ first.t()) * share @ second.t() for own, share, first, second in parts]
    )


def rotary(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> list[Tensor]:
    """Return the rotary embedding, with base 10,000, of tensors [s, b, heads, d].

    Su et al. 2021, arXiv 2104.09864: pairs are half the width apart, turned as complex numbers.
    """
    turned = []
    for x in inputs:
        length, size = x.shape[0], x.shape[-1]
        frequencies = 10000.0 ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.arange(length, dtype=torch.float64)[:, None, None, None] * frequencies
        first, second = x.chunk(2, dim=-1)
        product = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
        turned.append(torch.cat([product.real, product.imag], dim=-1))
    return turned


def cross_entropy(config: RunConfig, inputs: Sequence[Tensor], seen: Seen) -> Tensor:
    """Return the scalar sum of the losses of all tokens, from whole logits."""
    x, weight = inputs
    labels = seen.given["labels"].cpu().flatten()
    return F.cross_entropy((x @ weight.t()).flatten(0, 1), labels, reduction="sum")


TRUTHS: dict[str, Truth] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "attention": attention,
    "attention_documents": attention_documents,
    "mlp_gelu": mlp,
    "mlp_swiglu": mlp,
    "mlp_products": mlp,
    "swiglu": swiglu,
    "experts": experts,
    "rotary": rotary,
    "cross_entropy": cross_entropy,
}


def errors(config: RunConfig, operator: str, seen: Seen) -> list[float]:
    """Return the largest errors of each output and gradient, relative to the largest value; infinite: not finite."""
    inputs = [x.detach().double().cpu().requires_grad_() for x in seen.inputs]
    expected = TRUTHS[operator](config, inputs, seen)
    upstream = None if seen.upstream is None else [x.double().cpu() for x in _several(seen.upstream)]
    gradients = torch.autograd.grad(_several(expected), inputs, upstream, allow_unused=True)
    found = [error(got, one) for got, one in zip(_several(seen.output), _several(expected), strict=True)]
    for got, one in zip(seen.gradients, gradients, strict=True):
        if got is not None and one is not None:
            found.append(error(got, one))
        elif got is not one:
            found.append(float("inf"))  # only one of them has a gradient
    return found


def adamw_error(step: Any) -> float:
    """Return the largest error of an optimizer's first step, relative to the largest change (Loshchilov 2019).

    step: the optimizer's bound method `step`.
    """
    weights = [weight for group in step.__self__.param_groups for weight in group["params"]]
    before = [weight.detach().double().cpu() for weight in weights]
    gradients = [weight.grad.double().cpu() for weight in weights]
    step()
    worst = 0.0
    for weight, old, gradient in zip(weights, before, gradients, strict=True):
        # the first step's moments, corrected for their start at zero, are the gradient and its square
        expected = -LEARNING_RATE * (gradient / (gradient.abs() + EPSILON) + DECAY * old)
        worst = max(worst, error(weight.detach().double().cpu() - old, expected))
    return worst


def error(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the largest value.

    Infinite if the shapes differ or a value is not finite.
    """
    got = got.detach().double().cpu()
    if got.shape != expected.shape or not torch.isfinite(got).all():
        return float("inf")
    if not got.numel():
        return 0.0
    return ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def _several(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, list | tuple) else [value]
