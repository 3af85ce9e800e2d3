"""Core attention with torch's scaled_dot_product_attention, context parallelism, and separate documents.

Megatron-core's own DotProductAttention is unfused and refuses context parallelism. The layer spec replaces it on CPUs
and on GPUs without Transformer Engine.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from slipway.kernels.spans import Span, causal_spans
from slipway.kernels.windows import windowed


class TorchAttention(MegatronModule):
    """Attention over the whole sequence; s: local sequence, b: batch, n/g: local query/key heads, d: head size."""

    window: int | None = None
    """Keys that a query sees at most, including its own; None: all before it."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        **_: Any,
    ) -> None:
        super().__init__(config=config)
        self.causal = attn_mask_type == AttnMaskType.causal
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout
        self.softmax_scale = softmax_scale  # None: from the size of a query's head

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> Tensor:
        """Return attention [s, b, n * v] of query [s, b, n, d], key [s, b, g, d] and value [s, b, g, v].

        If values differ in size from queries (latent attention), the smaller ones are padded with zeros: torch's flash
        kernels take one size only, and its others would keep all scores.

        attention_mask: if documents are kept apart, spans_of_samples of the microbatch, since Megatron-core's layers
        pass on nothing else. None: tokens see all before them.
        """
        rank, size = 0, self.config.context_parallel_size
        if size > 1:
            group: Any = parallel_state.get_context_parallel_group()
            rank = group.rank()
            key, value = gather_sequence(key, group), gather_sequence(value, group)
        wide = max(query.shape[-1], value.shape[-1])
        q, k, v = (_filled(x, wide).permute(1, 2, 0, 3) for x in (query, key, value))  # [b, heads, s, d]
        if self.dropout and self.training and not self.config.sequence_parallel:
            tracker: Any = tensor_parallel.get_cuda_rng_tracker()
            with tracker.fork():  # heads differ between TP ranks
                out = self._attend(q, k, v, attention_mask, rank, size)
        else:
            out = self._attend(q, k, v, attention_mask, rank, size)
        return out[..., : value.shape[-1]].permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, spans: Tensor | None, rank: int, size: int) -> Tensor:
        if not self.causal:
            assert spans is None and self.window is None, (
                "documents and windows are for causal attention only"
            )
            return self._product(q, k, v, causal=False)
        if spans is None:
            return self._over(causal_spans(q.shape[2], rank, size), q, k, v)
        of_sample: list[list[Span]] = [[] for _ in q]
        for sample, *span in spans.tolist():
            of_sample[sample].append(Span(*span))
        samples = zip(of_sample, q.split(1), k.split(1), v.split(1), strict=True)
        return torch.cat([self._over(*sample) for sample in samples])

    def _over(self, spans: Sequence[Span], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention over spans, which contain all queries in order."""
        if len(spans) == 1:
            return self._before(q, k, v)
        queries = q.split([span.end - span.first for span in spans], dim=2)
        keys, values = (_stretches(x, [self._keys(span) for span in spans]) for x in (k, v))
        return torch.cat([self._before(*part) for part in zip(queries, keys, values, strict=True)], dim=2)

    def _keys(self, span: Span) -> tuple[int, int]:
        """Return the first key that a span's queries see, and the end of these keys."""
        if self.window is None:
            return span.first_key, span.end_key
        return max(span.first_key, span.end_key - (span.end - span.first) - self.window), span.end_key

    def _before(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return causal attention in which the last query sees all keys, or the last ones in its window."""
        if self.window is None:
            return self._product(q, k, v, causal=True)
        return windowed(q, k, v, self.window, self._masked)

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return softmax(q k^T + mask) v, which is causal without a mask."""
        if mask is None:
            return self._product(q, k, v, causal=True)
        if (
            q.device.type == "cuda" and q.shape[1] != k.shape[1]
        ):  # torch's kernel that takes masks there does not support groups
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        return self._product(q, k, v, causal=False, mask=mask)

    def _product(self, q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None = None) -> Tensor:
        """Return softmax(q k^T + mask) v, [b, n, s, d]. causal: the last query sees all keys."""
        causal = causal and q.shape[2] > 1  # a single query is a cache's next token
        if causal and q.shape[2] < k.shape[2]:
            mask = _lower_right(q.shape[2], k.shape[2], q.device)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal and mask is None,
            scale=self.softmax_scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )


def _filled(x: Tensor, size: int) -> Tensor:
    """Return x [..., d] padded with zeros to [..., size]."""
    return x if x.shape[-1] == size else F.pad(x, (0, size - x.shape[-1]))


@cache
def in_window(window: int) -> type[TorchAttention]:
    """Return a TorchAttention in which a query sees so many keys, including its own."""
    return type(f"TorchAttentionInWindow{window}", (TorchAttention,), {"window": window})


def _lower_right(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return a causal mask in which the last query sees all keys.

    Flash kernels on GPUs take it as a flag; on CPUs it is a tensor.
    """
    if device.type == "cpu":  # torch.nn.attention imports torch's compiler, a second of every start
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    from torch.nn.attention.bias import causal_lower_right

    return causal_lower_right(queries, keys)


def _stretches(x: Tensor, borders: Sequence[Sequence[int]]) -> Sequence[Tensor]:
    """Return the parts of x [b, heads, s, d] from first to end of each of the borders."""
    following = all(one[1] == other[0] for one, other in pairwise(borders))
    if following and borders[0][0] == 0 and borders[-1][1] == x.shape[2]:
        return x.split([end - first for first, end in borders], dim=2)  # gradients are joined, not added up
    return [x[:, :, first:end] for first, end in borders]


def gather_sequence(x: Tensor, group: torch.distributed.ProcessGroup) -> Tensor:
    """Return [s * size, ...] in sequence order, gathered from [s, ...] of every context-parallel rank.

    The backward pass reduce-scatters the gradient.
    """
    gathered = tensor_parallel.gather_from_sequence_parallel_region(x, group=group)
    size = group.size()
    halves = [part.chunk(2) for part in gathered.chunk(size)]
    return torch.cat([h[0] for h in halves] + [halves[size - 1 - i][1] for i in range(size)])
