"""Keys and values that a transformer keeps while it continues a text. Pure Python."""

from collections import Counter
from collections.abc import Iterable

from slipway.models.transformer.block import Block


def kept_numbers(block: Block, tokens: int) -> int:
    """Return the elements that one layer keeps for a text of so many tokens: keys and values that are still seen.

    A program that reads a window's keys from a whole cache, as `slipway generate` does, keeps as many as without a
    window.
    """
    groups = block.num_attention_heads if block.latent else block.query_groups
    return groups * (block.head_size + block.value_size) * block.seen(tokens)


def least_numbers(block: Block) -> int:
    """Return the elements of one token if latent states are kept in place of the keys and values computed from them."""
    return block.latent.kv_down if block.latent else kept_numbers(block, 1)


def cache_bytes(blocks: Iterable[Block], tokens: int, element_bytes: int) -> int:
    """Return the bytes of all layers for one text."""
    return element_bytes * sum(
        count * kept_numbers(block, tokens) for block, count in Counter(blocks).items()
    )
