"""Exact parameters and floating-point operations of a GPT as Megatron-core builds it. Pure Python."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from slipway.models.family import Shard
from slipway.models.gpt.config import Config
from slipway.models.gpt.prediction import planned as prediction
from slipway.models.transformer import counts
from slipway.models.transformer.block import Block


def active_parameters(model: Config) -> int:
    """Return the parameters that one token passes through: of the experts only those that it is sent to."""
    ends = embedding(model) + head(model, copies_embedding=False)
    layers = total(model, lambda block: counts.layer(block).total - counts.idle(block))
    return ends.total + layers + prediction.active_parameters(model)


def total(model: Config, number: Callable[[Block], int]) -> int:
    """Return the sum of a number over all transformer layers; it is computed once for equal layers."""
    return sum(count * number(block) for block, count in Counter(model.blocks).items())


# Embedding and output layer are sharded over tensor-parallel ranks by vocabulary, learned positions are whole.


def embedding(model: Config, tp: int = 1) -> Shard:
    """Return the parameters of the embedding on one rank."""
    positions = 0
    if model.position_embedding_type == "learned_absolute":
        positions = model.max_position_embeddings * model.hidden_size
    return Shard(table(model, tp) + positions)


def head(model: Config, tp: int = 1, *, copies_embedding: bool) -> Shard:
    """Return the parameters of the final norm and the output layer on one rank.

    copies_embedding: whether the output layer is tied to an embedding on another rank, so that this one has a copy.
    """
    has_table = model.untie_embeddings_and_output_weights or copies_embedding
    return Shard(counts.norm(model.blocks[0]) + (table(model, tp) if has_table else 0))


def table(model: Config, tp: int) -> int:
    """Return the parameters on one rank of the embedding's table, or of an untied output layer."""
    return model.padded_vocab_size // tp * model.hidden_size


def flops_per_sample(model: Config, tokens: int) -> int:
    """Return the floating-point operations of a sample of so many tokens, forward and backward, without recomputation.

    To those of slipway.models.transformer.counts the logits' product is added, but not the embedding's look-up. For h x
    h attention and a 4h MLP this is 72 s l h^2 (1 + s/(6h) + V/(12lh)): the F without recomputation of Narayanan et al.
    2021 (arXiv 2104.04473), which is the model FLOP of Korthikanti et al. 2022, arXiv 2205.05198.
    """
    own = total(model, lambda block: counts.flops(block, tokens)) + _logit_flops(model) * tokens
    return own + model.prediction_depths * prediction.flops(model, tokens, _logit_flops(model))


def _logit_flops(model: Config) -> int:
    return 6 * model.hidden_size * model.padded_vocab_size


def attention_flops(model: Config, tokens: int) -> int:
    """Return the part of `flops_per_sample` for attention's two products over the whole s x s square, causal or not."""
    ahead = model.prediction_depths * counts.attention_flops(model.blocks[-1], tokens)
    return total(model, lambda block: counts.attention_flops(block, tokens)) + ahead


def palm_flops(model: Config, tokens: int) -> int:
    """Return the operations of a sample by PaLM's convention: 6 N + 12 L H Q T per token.

    See Chowdhery et al. 2022 (arXiv 2204.02311, appendix B). N is all parameters, of experts those that a token is sent
    to. It includes norms, biases, learned positions and the embedding, the latter once more than it multiplies if the
    output layer has weights of its own.
    """
    return 6 * active_parameters(model) * tokens + attention_flops(model, tokens)


def recomputed_flops_per_sample(model: Config, tokens: int, modules: Collection[str]) -> int:
    """Return the operations of a sample that the backward pass repeats."""
    ahead = model.prediction_depths * prediction.recomputed_flops(model, tokens, modules)
    return total(model, lambda block: counts.recomputed_flops(block, tokens, modules)) + ahead


class Costs(NamedTuple):
    """Operations of a token in each kind of layer, forward and backward, including recomputation."""

    embedding: int
    layers: Sequence[int]
    prediction: int
    """Operations of one depth of multi-token prediction."""
    head: int


def costs(model: Config, tokens: int, modules: Collection[str]) -> Costs:
    """Return the relative costs of the layers, to divide them among stages. tokens: of a sample.

    The embedding multiplies nothing: it counts one multiplication and addition for each number that it looks up, and
    twice that backward, so that it is not free.
    """
    each = {
        block: (counts.flops(block, tokens) + counts.recomputed_flops(block, tokens, modules)) // tokens
        for block in set(model.blocks)
    }
    return Costs(
        embedding=6 * model.hidden_size,
        layers=[each[block] for block in model.blocks],
        prediction=_prediction(model, tokens, modules),
        head=_logit_flops(model),
    )


def _prediction(model: Config, tokens: int, modules: Collection[str]) -> int:
    own = prediction.flops(model, tokens, _logit_flops(model))
    return (own + prediction.recomputed_flops(model, tokens, modules)) // tokens
