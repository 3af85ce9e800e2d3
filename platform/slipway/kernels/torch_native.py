"""Core attention on torch's scaled_dot_product_attention, with context parallelism, and norms for sequence parallelism.

Megatron-core's own DotProductAttention is unfused and refuses context parallelism; its torch norm refuses
sequence parallelism. Both are replaced through the layer spec, on CPU and on GPUs without Transformer Engine.
"""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor


class TorchAttention(MegatronModule):
    """Attention over the whole sequence; s: local sequence, b: batch, n/g: local query/key heads, d: head size."""

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
        self.softmax_scale = softmax_scale

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> Tensor:
        """[s, b, n, d], [s, b, g, d], [s, b, g, d] -> [s, b, n * d]."""
        assert attention_mask is None, "only causal or full attention"
        mask = None
        causal = self.causal
        if self.config.context_parallel_size > 1:
            group: Any = parallel_state.get_context_parallel_group()
            key, value = gather_sequence(key, group), gather_sequence(value, group)
            if causal:
                position = local_positions(query.shape[0], group.rank(), group.size(), query.device)
                mask = position[:, None] >= torch.arange(key.shape[0], device=query.device)[None, :]
                causal = False
        q, k, v = (x.permute(1, 2, 0, 3) for x in (query, key, value))  # [b, heads, s, d]
        dropout = self.dropout if self.training else 0.0
        if dropout and not self.config.sequence_parallel:
            tracker: Any = tensor_parallel.get_cuda_rng_tracker()
            with tracker.fork():  # heads differ between TP ranks
                out = self._attend(q, k, v, mask, causal, dropout)
        else:
            out = self._attend(q, k, v, mask, causal, dropout)
        return out.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float
    ) -> Tensor:
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=causal,
            scale=self.softmax_scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )


def local_positions(length: int, rank: int, size: int, device: torch.device | None = None) -> Tensor:
    """Positions in the whole sequence of the `length` tokens of one context-parallel rank, [length].

    The sequence is cut into 2 x size chunks, and rank r holds chunks r and 2 x size - 1 - r, so that causal
    attention costs the same on every rank.
    """
    half = length // 2
    first = torch.arange(half, device=device) + rank * half
    second = torch.arange(half, device=device) + (2 * size - 1 - rank) * half
    return torch.cat([first, second])


def gather_sequence(x: Tensor, group: torch.distributed.ProcessGroup) -> Tensor:
    """All-gather [s, ...] of every context-parallel rank into [s * size, ...] in sequence order.

    The backward pass reduce-scatters.
    """
    gathered = tensor_parallel.gather_from_sequence_parallel_region(x, group=group)
    size = group.size()
    halves = [part.chunk(2) for part in gathered.chunk(size)]
    return torch.cat([h[0] for h in halves] + [halves[size - 1 - i][1] for i in range(size)])


class LayerNorm(torch.nn.LayerNorm):
    """torch's LayerNorm whose parameters are marked for the gradient reduction of sequence parallelism."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__(hidden_size, eps=eps)
        _mark(self, config)


class RMSNorm(torch.nn.RMSNorm):
    """torch's RMSNorm, marked alike."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__(hidden_size, eps=eps)
        _mark(self, config)


def _mark(module: torch.nn.Module, config: TransformerConfig) -> None:
    for parameter in module.parameters():
        parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
