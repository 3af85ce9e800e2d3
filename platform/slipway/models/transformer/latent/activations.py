"""The bytes per token that latent attention keeps for its backward pass. Pure Python.

tests/models/gpt/test_kept_bytes.py measures what it really keeps.
"""

from collections.abc import Collection

from slipway.models.transformer.block import Latent
from slipway.models.transformer.share import Share

UP = "mla_up_proj"


def states(share: Share, norm: int) -> int:
    """Return the bytes of the latent states: the down-projections' outputs, and what their norms keep and return.

    Only sequence parallelism splits them. norm: bytes that a norm keeps and returns, besides its input, for each
    number.
    """
    latent, size = _latent(share), share.element_bytes
    normed = (latent.q_lora_rank or 0) + latent.kv_lora_rank
    return size * ((latent.q_lora_rank or 0) + latent.kv_down) + norm * normed


def gathered(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes of the gathered rotary channels of the keys, which ranks keep if they are rotated again.

    Every tensor-parallel rank has all of them.
    """
    return (
        share.element_bytes * _latent(share).qk_pos_emb_head_dim if UP in recomputed and share.tp > 1 else 0
    )


def tables(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes of sines and cosines for queries and for keys, the same for all samples and heads."""
    return 0 if UP in recomputed else 4 * share.element_bytes * _latent(share).qk_pos_emb_head_dim


def heads(share: Share, recomputed: Collection[str], scores: bool) -> int:
    """Return the bytes from the up-projections to the projection's input, for all ranks' heads, without the scores.

    scores: whether the scores are kept.
    """
    latent, cp, again = _latent(share), share.cp, UP in recomputed
    qk, value = latent.qk_size, latent.v_head_dim
    wide = max(qk, value) if share.pads_heads else 0
    fills_keys, fills_values = bool(wide) and qk < value, bool(wide) and value < qk
    queries, keys, values = (
        (wide if fills_keys else qk),
        (wide if fills_keys else qk),
        (wide if fills_values else value),
    )
    # what is padded, or gathered, is a copy of what is recomputed
    kept = 0 if again and not fills_keys else queries
    kept += 0 if again and not fills_keys and cp == 1 else keys * cp
    kept += 0 if again and not fills_values and cp == 1 else values * cp
    kept += 0 if scores else values  # flash attention's output
    if fills_values or scores or cp > 1 or share.apart:
        kept += value  # the projection's input, joined from several chunks, or without the padding
    return share.element_bytes * share.block.num_attention_heads * kept


def _latent(share: Share) -> Latent:
    assert share.block.latent
    return share.block.latent
