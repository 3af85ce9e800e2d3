"""Arithmetic of the layers of multi-token prediction: parameters, operations, bytes and work. Pure Python.

Each has two norms, a projection from twice the hidden size, a transformer layer like the model's last one, and a norm;
embedding and output layer are the model's own, each used once more.
"""

from collections.abc import Collection

from slipway.models.family import Layer, Shard
from slipway.models.gpt import activations
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.transformer import counts, recompute
from slipway.models.transformer import work as of_layers
from slipway.models.transformer.activations import norm_bytes
from slipway.models.transformer.block import Block
from slipway.models.transformer.layer import planned_layer
from slipway.models.transformer.share import Share
from slipway.models.work import Pass, Work

NORMS = 3
"""The norms of the embeddings, of the states, and before the output layer."""


def beside_block(block: Block, tp: int = 1) -> int:
    """Return the parameters of one depth on one rank, without its transformer layer's."""
    return NORMS * counts.norm(block) + projection(block) // tp


def projection(block: Block) -> int:
    """Return the weights of the projection, which tensor-parallel ranks split by outputs; it has no biases."""
    return 2 * block.hidden_size**2


def active_parameters(model: Config) -> int:
    """Return the parameters of all depths that one token passes through."""
    block = model.blocks[-1]
    return model.prediction_depths * (beside_block(block) + counts.layer(block).total - counts.idle(block))


def flops(model: Config, tokens: int, logits: int) -> int:
    """Return the operations of one depth for a sample of so many tokens, forward and backward.

    logits: operations of one token's logits.
    """
    block = model.blocks[-1]
    return counts.flops(block, tokens) + (6 * projection(block) + logits) * tokens


def recomputed_flops(model: Config, tokens: int, modules: Collection[str]) -> int:
    """Return the operations of one depth that the backward pass repeats; a whole layer includes the projection."""
    block = model.blocks[-1]
    whole = recompute.LAYER in modules
    return counts.recomputed_flops(block, tokens, modules) + whole * 2 * projection(block) * tokens


def layers(share: Share, copy: int) -> list[Layer]:
    """Return all depths, as a rank of the last stage holds them. copy: parameters of the embedding's copy there."""
    model = gpt_of(share.config)
    if not model.prediction_depths:
        return []
    own = share._replace(block=model.blocks[-1])
    block = planned_layer(own)
    one = block._replace(
        name="prediction",
        parameters=block.parameters + Shard(beside_block(own.block, own.tp)),
        kept_bytes=block.kept_bytes + kept_bytes(own),
        held_bytes=activations.loss_bytes(own),
        block=False,
        matrices=block.matrices + Shard(projection(own.block) // own.tp),
    )
    first = one._replace(parameters=one.parameters + Shard(copy))
    return [first, *[one] * (model.prediction_depths - 1)]


def kept_bytes(share: Share) -> int:
    """Return the bytes that one depth keeps of a microbatch besides what its transformer layer keeps.

    These are the inputs of its norms, what they keep in addition, and the projection's input, which is twice as wide;
    the transformer layer's input is counted there. If it is recomputed as a whole: the embeddings, besides the states
    that its transformer layer keeps.
    """
    if recompute.LAYER in share.recomputed:
        return share.state_bytes
    elements = share.tokens * share.block.hidden_size // share.outside
    return elements * (NORMS * (share.element_bytes + norm_bytes(share)) + 2 * share.element_bytes)


def work(share: Share, embedding: Work, head: Work) -> Work:
    """Return the work of one depth. embedding, head: the model's own, which each depth runs once more."""
    own = share._replace(block=gpt_of(share.config).blocks[-1])
    hidden, size = own.block.hidden_size, own.element_bytes
    product = of_layers.linear(own, own.tokens, hidden // own.tp, 2 * hidden)
    norms = float(NORMS * own.tokens * hidden * size / own.outside)
    layer = of_layers.layer(own)
    forward = Pass((product[0],), 4 * norms, 2 * NORMS + 2)
    backward = Pass(product[1:], 6 * norms, 2 * NORMS + 2)
    whole = recompute.LAYER in own.recomputed
    return Work(
        embedding.forward + forward + layer.forward + head.forward,
        embedding.backward + backward + layer.backward + head.backward,
        layer.again + (forward if whole else Pass()),
    )
