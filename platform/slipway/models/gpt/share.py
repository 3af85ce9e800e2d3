"""What one rank has of a GPT's layers. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.tokens import tokens_of
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.share import Share


def share_of(config: RunConfig, layout: Parallelism) -> Share:
    """A transformer layer on one rank of a layout, with one microbatch."""
    data = tokens_of(config)
    return Share(config, layout, gpt_of(config).block, data.sequence_length, bool(data.apart))
