"""One rank's share of a GPT's layers. Pure Python."""

from collections.abc import Callable
from typing import TypeVar

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.tokens import tokens_of
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.share import Share

Each = TypeVar("Each")


def share_of(config: RunConfig, layout: Parallelism) -> Share:
    """Return one rank's share of the first transformer layer in a layout, with one microbatch.

    It also serves for what all layers have in common.
    """
    data, blocks = tokens_of(config), gpt_of(config).blocks
    return Share(config, layout, blocks, blocks[0], data.sequence_length, bool(data.apart))


def of_layers(share: Share, make: Callable[[Share], Each]) -> list[Each]:
    """Return what `make` returns for each transformer layer, in order; the same object for equal layers."""
    made = {block: make(share._replace(block=block)) for block in dict.fromkeys(share.blocks)}
    return [made[block] for block in share.blocks]
