"""Causal attention in a sliding window, in chunks of queries that each see only the keys near them.

torch's flash kernels support no windows, only causal masks. A mask over the whole sequence would cost its square in
time, and in memory on GPUs. So queries are cut into chunks as long as the window, each of which sees its own keys and
those of the window before it, through a mask that all chunks share: memory and time grow with sequence times window.
The first chunk of a sequence is causal, without a mask.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from slipway.kernels.sizes import WINDOW_QUERIES

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Computes softmax(q k^T + mask) v; without a mask it is causal, and the last query sees all keys."""


def windowed(q: Tensor, k: Tensor, v: Tensor, window: int, attend: Attend) -> Tensor:
    """Return attention [b, n, s, d] in which each query sees the last `window` keys up to its own.

    The last query's own key is the last one. q: [b, n, s, d]; k, v: [b, g, t, d] with t >= s.
    """
    queries = q.shape[2]
    # one key more than they see, which the mask hides: then its rows have the length that GPU kernels expect
    needed = min(k.shape[2], queries + window if queries > 1 else window)
    if needed < k.shape[2]:
        k, v = (x[:, :, x.shape[2] - needed :] for x in (k, v))
    if needed <= window:
        return attend(q, k, v, None)
    step = max(window, WINDOW_QUERIES)
    parts = q.split(step, dim=2)
    own = [part.shape[2] for part in parts]
    own[0] += needed - queries
    outputs, masks = [], dict[tuple[int, int], Tensor]()
    before: tuple[Tensor, ...] = ()
    for part, *mine in zip(parts, k.split(own, dim=2), v.split(own, dim=2), strict=True):
        # taken from the chunk before: a slice of the whole would have a gradient as long as the whole
        seen = (
            [torch.cat([_last(x, window), y], 2) for x, y in zip(before, mine, strict=True)]
            if before
            else mine
        )
        shape = (part.shape[2], seen[0].shape[2])
        if shape[1] > window and shape not in masks:
            masks[shape] = band(*shape, window, q)
        outputs.append(attend(part, seen[0], seen[1], masks.get(shape)))
        before = tuple(mine)
    return torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]


def _last(x: Tensor, keys: int) -> Tensor:
    return x[:, :, x.shape[2] - keys :]


def band(queries: int, keys: int, window: int, like: Tensor) -> Tensor:
    """Return what is added to scores, [queries, keys]: 0 for the last `window` keys up to a query's own, else -inf."""
    every = torch.ones(queries, keys, dtype=torch.bool, device=like.device)
    own = keys - queries  # the first query's own key
    seen = every.tril(own) & every.triu(own - window + 1)
    # converted to numbers once: each product would otherwise convert a boolean mask and keep the result
    return torch.zeros(queries, keys, dtype=like.dtype, device=like.device).masked_fill_(~seen, float("-inf"))
