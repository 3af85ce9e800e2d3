"""A masked auto-encoder of image time series in plain PyTorch, in float64 on one process.

Written anew from He et al. 2021 (arXiv 2111.06377) and Prithvi-EO-2.0 (arXiv 2412.02732); shares no code with Slipway,
Megatron-core or terratorch. Weights have their names in checkpoints, layers a number: `encoder.layers.0.mlp...`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import whole_numbers
from reference.plain import Batch, Weights

FAULTS = (
    "GELU by tanh",
    "rows before columns",
    "the class token has a position",
    "metadata reaches the class token",
    "metadata is never dropped",
    "metadata for the encoder only",
    "the convolution's order is predicted",
    "visible patches count",
    "a mean over pixels",
    "what is not known is predicted",
    "norms are decayed",
)
NODATA = -32768
KEY = (0x6D61736B, 0)


@dataclass(frozen=True)
class Model:
    """What the weights' shapes do not say."""

    grid: tuple[int, int, int]
    patch: int
    heads: int
    decoder_heads: int
    visible: int
    metadata: tuple[str, ...] = ()
    dropped: float = 0.0
    normalize: bool = False


def loss(model: Model, weights: Weights, batch: Batch, fault: str = "") -> Tensor:
    """Of a batch: pixels [b, t, c, h, w], mean and std [b, c], dates [b, t, 2], location [b, 2], sample_seed [b]."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for number in range(len(batch["pixels"])):
        sample = {name: values[number] for name, values in batch.items()}
        errors, known = _errors(model, weights, sample, fault)
        if fault == "a mean over pixels":
            total, count = total + errors.sum(), count + int(known.sum())
            continue
        there = known.any(1)
        total = total + (errors.sum(1)[there] / known.sum(1)[there]).sum()
        count += int(there.sum())
    return total / count


def _errors(model: Model, weights: Weights, sample: Batch, fault: str) -> tuple[Tensor, Tensor]:
    """Squared errors of hidden patches' numbers, and which are known."""
    seed = int(sample["sample_seed"])
    order = sorted(range(math.prod(model.grid)), key=lambda patch: (_word(seed, 0, patch), patch))
    visible, hidden = order[: model.visible], order[model.visible :]
    metadata = {}
    for purpose, name in enumerate(("time", "location"), start=1):
        dropped = _word(seed, purpose, 0) < model.dropped * 2**32 and fault != "metadata is never dropped"
        if name in model.metadata and not dropped:
            metadata[name] = sample["dates" if name == "time" else "location"].double()
    # bands last; a patch's numbers are [row, column, band]
    pixels = sample["pixels"].permute(0, 2, 3, 1)
    known = pixels != NODATA
    images = (pixels.double() - sample["mean"].double()) / sample["std"].double()
    if fault == "what is not known is predicted":
        known = torch.ones_like(known)
    images = torch.where(pixels != NODATA, images, 0.0)

    tokens = []
    for patch in visible:
        numbers = (
            _cut(model, images, patch).permute(2, 0, 1).flatten()
        )  # as a convolution's weight: band first
        token = weights["patch_embedding.weight"] @ numbers + weights["patch_embedding.bias"]
        tokens.append(token + _place(model, weights, patch, token, metadata, "", fault))
    classes = weights["cls_token"]
    classes = classes + _of_class(model, weights, classes, metadata, "", fault)
    x = _transformer(weights, "encoder", torch.stack([classes, *tokens]), model.heads, fault)

    x = F.linear(x, weights["decoder_embedding.weight"], weights["decoder_embedding.bias"])
    inputs = [x[0] + _of_class(model, weights, x[0], metadata, "decoder_", fault)]
    for patch in range(math.prod(model.grid)):
        token = x[1 + visible.index(patch)] if patch in visible else weights["mask_token"]
        inputs.append(token + _place(model, weights, patch, token, metadata, "decoder_", fault))
    x = _transformer(weights, "decoder", torch.stack(inputs), model.decoder_heads, fault)
    predicted = F.linear(x[1:], weights["prediction.weight"], weights["prediction.bias"])

    errors, there = [], []
    for patch in range(math.prod(model.grid)) if fault == "visible patches count" else hidden:
        wanted, own = _cut(model, images, patch), _cut(model, known, patch)
        if fault == "the convolution's order is predicted":
            wanted, own = wanted.permute(2, 0, 1), own.permute(2, 0, 1)
        wanted, own = wanted.flatten(), own.flatten()
        if model.normalize and own.any():
            values = wanted[own]
            wanted = (wanted - values.mean()) / (values.var() + 1e-6).sqrt()
        errors.append(torch.where(own, predicted[patch] - wanted, 0.0).square())
        there.append(own)
    return torch.stack(errors), torch.stack(there)


def _word(seed: int, purpose: int, number: int) -> int:
    return whole_numbers.philox((number // 4, purpose, seed % 2**32, seed >> 32), KEY)[number % 4]


def _cut(model: Model, images: Tensor, patch: int) -> Tensor:
    """[row, column, band] of a patch."""
    _, rows, columns = model.grid
    time, row, column = patch // (rows * columns), patch // columns % rows, patch % columns
    size = model.patch
    return images[time, row * size : (row + 1) * size, column * size : (column + 1) * size]


def _place(
    model: Model, weights: Weights, patch: int, like: Tensor, metadata: Batch, part: str, fault: str
) -> Tensor:
    """Position and metadata of a patch."""
    _, rows, columns = model.grid
    width = len(like)
    time, row, column = patch // (rows * columns), patch // columns % rows, patch % columns
    first, second = (row, column) if fault == "rows before columns" else (column, row)
    code = [*_code(first, width * 6 // 16), *_code(second, width * 6 // 16), *_code(time, width * 4 // 16)]
    place, told = torch.tensor(code, dtype=torch.float64), _metadata(weights, time, width, metadata, part)
    return place + told * (0 if part and fault == "metadata for the encoder only" else 1)


def _of_class(model: Model, weights: Weights, like: Tensor, metadata: Batch, part: str, fault: str) -> Tensor:
    """Nothing, unless a fault is planted."""
    if fault == "the class token has a position":
        return _place(model, weights, 0, like, {}, part, fault)
    if fault == "metadata reaches the class token":
        return _metadata(weights, 0, len(like), metadata, part)
    return torch.zeros_like(like)


def _metadata(weights: Weights, time: int, width: int, metadata: Batch, part: str) -> Tensor:
    found = torch.zeros(width, dtype=torch.float64)
    for name, values in metadata.items():
        one, other = (values[time] if name == "time" else values).tolist()
        code = torch.tensor([*_code(one, width // 2), *_code(other, width // 2)], dtype=torch.float64)
        found = found + weights[f"{part}{name}_scale"] * code
    return found


def _code(position: float, width: int) -> list[float]:
    angles = [position / 10000 ** (2 * i / width) for i in range(width // 2)]
    return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]


def _transformer(weights: Weights, part: str, x: Tensor, heads: int, fault: str) -> Tensor:
    """[tokens, width] through all layers and the last norm."""
    number = 0
    while f"{part}.layers.{number}.mlp.linear_fc1.weight" in weights:
        own = {name: weights[name] for name in weights if name.startswith(f"{part}.layers.{number}.")}
        own = {name.removeprefix(f"{part}.layers.{number}."): weight for name, weight in own.items()}
        x = x + _attention(own, _norm(own, "input_layernorm", x), heads)
        wide = _linear(own, "mlp.linear_fc1", _norm(own, "pre_mlp_layernorm", x))
        if fault == "GELU by tanh":
            wide = F.gelu(wide, approximate="tanh")
        else:
            wide = wide * (1 + torch.erf(wide / math.sqrt(2))) / 2
        x = x + _linear(own, "mlp.linear_fc2", wide)
        number += 1
    return _norm(weights, f"{part}.final_layernorm", x)


def _attention(own: Weights, x: Tensor, heads: int) -> Tensor:
    """Every token sees all; the rows of linear_qkv: of each head its query, its key, its value."""
    q, k, v = _linear(own, "self_attention.linear_qkv", x).view(len(x), heads, 3, -1).unbind(2)
    scores = torch.einsum("snd,tnd->nst", q, k) / math.sqrt(q.shape[-1])
    mixed = torch.einsum("nst,tnd->snd", scores.softmax(-1), v).flatten(1)
    return _linear(own, "self_attention.linear_proj", mixed)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
