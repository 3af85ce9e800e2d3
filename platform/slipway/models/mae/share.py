"""One rank's share of the encoder's and of the decoder's layers. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.mae.config import mae_of
from slipway.models.transformer.share import Share


def encoder_share(config: RunConfig, layout: Parallelism) -> Share:
    """Return the share of an encoder layer, which sees the class token and the visible patches."""
    model = mae_of(config)
    return Share(
        config, layout, (model.encoder_block,), model.encoder_block, padded(1 + model.num_visible, layout)
    )


def decoder_share(config: RunConfig, layout: Parallelism) -> Share:
    """Return the share of a decoder layer, which sees the class token and all patches."""
    model = mae_of(config)
    return Share(
        config, layout, (model.decoder_block,), model.decoder_block, padded(1 + model.num_patches, layout)
    )


def padded(length: int, layout: Parallelism) -> int:
    """Return the length of a sequence, rounded up so that sequence-parallel ranks can divide it."""
    ranks = layout.tensor_model_parallel_size if layout.sequence_parallel else 1
    return -(-length // ranks) * ranks
