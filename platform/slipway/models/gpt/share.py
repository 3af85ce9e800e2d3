"""What one rank has of a GPT's layers. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.text.config import text_of
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.share import Share


def share_of(config: RunConfig, layout: Parallelism) -> Share:
    """A transformer layer on one rank of a layout, with one microbatch."""
    text = text_of(config)
    return Share(config, layout, gpt_of(config).block, text.sequence_length, text.reset_attention_mask)
