"""Exact parameters and floating-point operations of a masked auto-encoder. Pure Python.

Only the transformer layers are sharded over tensor-parallel ranks; embeddings, prediction and single vectors are whole
on each. Operations are counted as in slipway.models.transformer.counts, two for each weight and token forward and four
backward, except in the patch embedding: pixels need no gradient. Only hidden patches are predicted.
"""

from collections.abc import Collection
from typing import NamedTuple

from slipway.models.family import Shard
from slipway.models.mae.config import Config
from slipway.models.transformer import counts


def embedding(model: Config) -> Shard:
    """Return the parameters of the patch embedding, the class token, and the scales of metadata."""
    return Shard(_linear(model.patch_values, model.hidden_size) + model.hidden_size + len(model.metadata))


def head(model: Config, tp: int = 1) -> Shard:
    """Return the parameters on one rank after the encoder's layers: the final norm and the whole decoder."""
    layers = model.decoder_num_layers * counts.layer(model.decoder_block, tp).total
    norms = counts.norm(model.encoder_block) + counts.norm(model.decoder_block)
    ends = _linear(model.hidden_size, model.decoder_hidden_size)
    ends += _linear(model.decoder_hidden_size, model.patch_values)
    return Shard(norms + ends + model.decoder_hidden_size + layers + len(model.metadata))


def head_matrices(model: Config, tp: int = 1) -> Shard:
    """Return the head's parameters in hidden matrices: the decoder's layers and the embedding of its input."""
    layers = model.decoder_num_layers * counts.matrices(model.decoder_block, tp).total
    return Shard(layers + model.hidden_size * model.decoder_hidden_size)


def parameters(model: Config) -> int:
    """Return the parameters of the whole model."""
    layers = model.num_layers * counts.layer(model.encoder_block).total
    return embedding(model).total + layers + head(model).total


class Flops(NamedTuple):
    """Operations of one sample in each kind of layer, forward and backward."""

    embedding: int
    layer: int
    """Operations of each layer of the encoder."""
    head: int

    def total(self, model: Config) -> int:
        """Return the operations of all layers."""
        return self.embedding + model.num_layers * self.layer + self.head


def flops(model: Config) -> Flops:
    """Return the operations without recomputation."""
    visible, every = model.num_visible, model.num_patches
    ends = 6 * (1 + visible) * model.hidden_size * model.decoder_hidden_size
    ends += 6 * (every - visible) * model.decoder_hidden_size * model.patch_values
    return Flops(
        embedding=4 * visible * model.patch_values * model.hidden_size,
        layer=counts.flops(model.encoder_block, 1 + visible),
        head=ends + model.decoder_num_layers * counts.flops(model.decoder_block, 1 + every),
    )


def recomputed_flops(model: Config, modules: Collection[str]) -> Flops:
    """Return the operations that the backward pass repeats. modules: of slipway.models.transformer.recompute."""
    decoder = counts.recomputed_flops(model.decoder_block, 1 + model.num_patches, modules)
    return Flops(
        embedding=0,
        layer=counts.recomputed_flops(model.encoder_block, 1 + model.num_visible, modules),
        head=model.decoder_num_layers * decoder,
    )


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
