"""Initial values of a part of a tensor, drawn where the part is: no rank draws, or holds, what is not its own."""

import hashlib
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from slipway.engine.normal import normal, uniform
from slipway.kernels.philox import LOW, WORDS, philox
from slipway.models.initial import Constant, Initial, Normal

# counters at a time, of four numbers each: few enough for a CPU's caches; elsewhere 0.5 GB of temporaries
ON_CPU, ON_DEVICE = 2**15, 2**22


def key_of(place: str) -> tuple[int, int]:
    """Return the generator's key for a place: 64 bits of its SHA-256."""
    digest = hashlib.sha256(place.encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")


@torch.no_grad()
def draw(
    part: Tensor, initial: Initial, key: tuple[int, int], whole: Sequence[int], offset: Sequence[int]
) -> None:
    """Fill `part` [...], which begins at `offset` in a tensor of the shape `whole`, in place.

    An element depends on the key, on the index of its row in the whole (the axes before the last one, flattened) and on
    its place in the row. Numbers are drawn in fp32 and rounded to the part's dtype. With more than two axes, a part's
    rows must be viewable as one axis.
    """
    if isinstance(initial, Constant):
        part.fill_(initial.value)
        return
    if not part.numel():
        return
    if not whole:
        part, whole, offset = part.view(1), (1,), (0,)
    rows, columns = _rows(part, whole, offset), part.shape[-1]
    table = part if part.dim() == 2 else part.view(-1, columns)
    start, stop = offset[-1], offset[-1] + columns
    first, last = start // WORDS, -(-stop // WORDS)
    at_once = ON_CPU if part.device.type == "cpu" else ON_DEVICE
    some = max(1, at_once // (last - first))
    for here, those in zip(table.split(some), rows.split(some), strict=True):
        for block in range(first, last, at_once):
            until = min(block + at_once, last)
            low, high = max(start, block * WORDS), min(stop, until * WORDS)
            numbers = _numbers(initial, key, those, torch.arange(block, until, device=part.device))
            here[:, low - start : high - start] = numbers[:, low - block * WORDS : high - block * WORDS]


def _rows(part: Tensor, whole: Sequence[int], offset: Sequence[int]) -> Tensor:
    """Return the indices, in the whole, of the part's rows: int64."""
    numbers = torch.zeros(1, dtype=torch.int64, device=part.device)
    for axis in range(part.dim() - 1):
        own = torch.arange(offset[axis], offset[axis] + part.shape[axis], device=part.device)
        numbers = (numbers[:, None] + own * prod(whole[axis + 1 : -1])).view(-1)
    return numbers


def _numbers(initial: Initial, key: tuple[int, int], rows: Tensor, blocks: Tensor) -> Tensor:
    """Return random numbers, fp32 [rows, WORDS x blocks]."""
    assert not isinstance(initial, Constant)
    nothing = torch.zeros((), dtype=torch.int64, device=rows.device)
    words = philox((blocks, nothing, rows[:, None] & LOW, rows[:, None] >> 32), key)
    if isinstance(initial, Normal):
        numbers = normal(words).mul_(initial.std)
    else:
        numbers = uniform(words).mul_(initial.high - initial.low).add_(initial.low)
    return numbers.movedim(0, -1).flatten(-2)
