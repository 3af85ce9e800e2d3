"""Keys and values that a transformer keeps while it goes on with a text. Pure Python."""

from collections import Counter
from collections.abc import Iterable

from slipway.models.transformer.block import Block


def kept_numbers(block: Block, tokens: int) -> int:
    """Numbers that one layer keeps of a text of so many tokens: keys and values of those that later ones still see.

    A program that reads a window's keys from a whole cache, as `slipway generate` does, keeps as many as without one.
    """
    return 2 * block.group_width * block.seen(tokens)


def cache_bytes(blocks: Iterable[Block], tokens: int, element_bytes: int) -> int:
    """Bytes of all layers, for one text."""
    return element_bytes * sum(
        count * kept_numbers(block, tokens) for block, count in Counter(blocks).items()
    )
