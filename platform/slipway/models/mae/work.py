"""The computation and the exchanges of a masked auto-encoder's layers on one rank for one microbatch. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.mae.config import Config, mae_of
from slipway.models.mae.share import decoder_share, encoder_share
from slipway.models.transformer.products import linear
from slipway.models.transformer.share import Share
from slipway.models.transformer.work import layer
from slipway.models.work import Exchange, Pass, Work

DRAWING = 110
"""Kernels that draw a microbatch's masks: one call of Philox, ten rounds of ten tiny kernels."""


def layers(config: RunConfig, layout: Parallelism) -> list[Work]:
    """Return the work of the embedding, of each of the encoder's layers, and of the head: decoder and loss."""
    model = mae_of(config)
    encoder, decoder = encoder_share(config, layout), decoder_share(config, layout)
    return [
        _embedding(model, encoder),
        *[layer(encoder)] * model.num_layers,
        _head(model, encoder, decoder),
    ]


def _embedding(model: Config, encoder: Share) -> Work:
    """Return the work of the embedding.

    Every tensor-parallel rank embeds all visible patches; pixels need no gradient.
    """
    patches, size = encoder.samples * model.num_visible, encoder.element_bytes
    forward, _, weight = linear(encoder, patches, model.hidden_size, model.patch_values)
    pixels = float(encoder.samples * model.num_patches * model.patch_values)
    states = float(patches * model.hidden_size)
    whole = _gather(encoder)
    return Work(
        Pass(
            (forward,),
            2 * 2 * pixels + (4 + size) * patches * model.patch_values + 16 * states,
            90 + DRAWING,
        ),
        Pass((weight,), 2 * size * states, 4, whole),
    )


def _head(model: Config, encoder: Share, decoder: Share) -> Work:
    samples, size, each = encoder.samples, encoder.element_bytes, layer(decoder)
    hidden = samples * (model.num_patches - model.num_visible)
    narrow = linear(decoder, samples * (1 + model.num_visible), model.decoder_hidden_size, model.hidden_size)
    wide = linear(decoder, hidden, model.patch_values, model.decoder_hidden_size)
    states = float(samples * (1 + model.num_patches) * model.decoder_hidden_size)
    norms = 2 * size * (encoder.tokens * model.hidden_size / encoder.outside + states / decoder.outside)
    numbers = float(hidden * model.patch_values)
    around = Work(
        Pass(
            (narrow[0], wide[0]),
            2 * norms + 24 * states + (size + 40) * numbers,
            60,
            (*_gather(encoder), *_gather(decoder)),
        ),
        Pass(
            (*narrow[1:], *wide[1:]),
            3 * norms + 16 * states + (size + 20) * numbers,
            40,
            _gather(decoder),
        ),
    )
    parts = [around, *[each] * model.decoder_num_layers]
    return Work(*(sum(passes, Pass()) for passes in zip(*parts, strict=True)))


def _gather(share: Share) -> tuple[Exchange, ...]:
    """Return the gather of states that sequence parallelism has split, forward, or of their gradients, backward."""
    if share.outside == 1:
        return ()
    return (Exchange("all_gather", "tensor", float(share.state_bytes * share.outside)),)
