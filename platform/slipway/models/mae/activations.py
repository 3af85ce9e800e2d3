"""Memory that a masked auto-encoder uses besides its encoder's layers: embedding, decoder and loss. Pure Python.

tests/models/mae/test_kept_bytes.py and tests/plan/test_memory_measured.py measure what is really kept.
"""

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.mae.config import mae_of
from slipway.models.mae.share import decoder_share, encoder_share
from slipway.models.transformer.activations import inside_bytes, layer_bytes
from slipway.models.transformer.share import Share

STORED = 2
"""Bytes of a pixel as it is read: int16 or float16."""


def embedding_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Return the bytes that the patch embedding keeps of one microbatch: its input, visible patches as activations."""
    model, share = mae_of(config), encoder_share(config, layout)
    patches = share.samples * model.num_visible * model.patch_values * share.element_bytes
    return patches + _whole_states(share)


def head_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Return the bytes that the final norm, the decoder and the loss need for one microbatch, at the peak.

    The last stage runs backward through the decoder as soon as it has a microbatch's loss: no second one is in flight.
    """
    decoder = decoder_share(config, layout)
    layers = mae_of(config).decoder_num_layers * layer_bytes(decoder, decoder.recomputed)
    return _ends(config, layout) + layers + max(_loss(config), inside_bytes(decoder, decoder.recomputed))


def _ends(config: RunConfig, layout: Parallelism) -> int:
    """Return the bytes around the decoder's layers: norms before and after them, its embedding, and the prediction."""
    model, encoder, decoder = mae_of(config), encoder_share(config, layout), decoder_share(config, layout)
    norms = 2 * encoder.state_bytes + 2 * decoder.state_bytes  # inputs and outputs
    if encoder.outside > 1:
        norms += encoder.state_bytes * encoder.outside  # gathered for the decoder's embedding
        norms -= decoder.state_bytes  # the last norm's output is no longer needed once it is gathered
    hidden = decoder.samples * (model.num_patches - model.num_visible) * model.decoder_hidden_size
    return norms + hidden * decoder.element_bytes + _whole_states(decoder)


def _whole_states(share: Share) -> int:
    """Return the bytes of the whole states that enter a stack, without the rank's own part cut from them: they stay."""
    return share.state_bytes * (share.outside - 1)


def _loss(config: RunConfig) -> int:
    """Return the bytes of predictions, targets with their mask, and the errors with their gradients, in fp32."""
    model, training = mae_of(config), config.training
    size = 2 if training.precision == "bf16" else 4
    numbers = training.micro_batch_size * (model.num_patches - model.num_visible) * model.patch_values
    return numbers * (size + STORED + 1 + 4 * 4)
