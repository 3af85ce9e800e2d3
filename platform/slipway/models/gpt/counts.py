"""Exact parameters, and floating-point operations, of a GPT as Megatron-core builds it. Pure Python."""

from collections.abc import Collection
from typing import NamedTuple

from slipway.models.family import Shard
from slipway.models.gpt.config import Config
from slipway.models.transformer.recompute import LAYER


def attention_width(model: Config) -> int:
    """Width of all heads together."""
    return model.num_attention_heads * model.head_size


def active_parameters(model: Config) -> int:
    """Parameters that one token meets: of the experts only those that it is sent to."""
    whole = embedding(model) + head(model, copies_embedding=False)
    whole += Shard(*(model.num_layers * count for count in block(model)))
    idle = 0
    if model.num_moe_experts:
        idle = model.num_layers * (model.num_moe_experts - model.moe_router_topk) * _mlp(model, tp=1)
    return whole.total - idle


# Sharded over tensor-parallel ranks: embedding and output layer by vocabulary; QKV and the first MLP layer with their
# biases by output; attention projection and the second MLP layer by input, their biases whole. Whole on every rank:
# norms, router, learned positions. Below, tp is the tensor-parallel size, also of the experts; ep the expert-parallel.


def embedding(model: Config, tp: int = 1) -> Shard:
    """Parameters of the embedding on one rank."""
    positions = 0
    if model.position_embedding_type == "learned_absolute":
        positions = model.max_position_embeddings * model.hidden_size
    return Shard(_table(model, tp) + positions)


def block(model: Config, tp: int = 1, ep: int = 1) -> Shard:
    """Parameters of one transformer layer on one rank."""
    expert = 0
    if model.num_moe_experts:
        expert = (model.num_moe_experts // ep) * _mlp(model, tp)
    return Shard(_layer_without_experts(model, tp), expert)


def head(model: Config, tp: int = 1, *, copies_embedding: bool) -> Shard:
    """Parameters of the final norm and the output layer on one rank.

    copies_embedding: the output layer is tied to an embedding that another rank holds, so this one has a copy.
    """
    has_table = model.untie_embeddings_and_output_weights or copies_embedding
    return Shard(_norm(model) + (_table(model, tp) if has_table else 0))


def _table(model: Config, tp: int) -> int:
    return model.padded_vocab_size // tp * model.hidden_size


def _norm(model: Config) -> int:
    return model.hidden_size * (2 if model.normalization == "LayerNorm" else 1)


def _layer_without_experts(model: Config, tp: int) -> int:
    hidden, width = model.hidden_size, attention_width(model)
    qkv = width + 2 * model.query_groups * model.head_size
    bias = int(model.add_bias_linear)
    attention = qkv // tp * (hidden + bias) + width // tp * hidden + bias * hidden
    feed = hidden * model.num_moe_experts if model.num_moe_experts else _mlp(model, tp)
    return 2 * _norm(model) + attention + feed


def _mlp(model: Config, tp: int) -> int:
    """One MLP, or one expert; a gated one has two first layers."""
    bias = int(model.add_bias_linear)
    outputs = model.mlp_size // tp
    gates = 2 if model.activation == "swiglu" else 1
    return (
        gates * outputs * (model.hidden_size + bias) + outputs * model.hidden_size + bias * model.hidden_size
    )


def matmul_weights(model: Config) -> int:
    """Weights that multiply each token, the logits' included; of the experts only the active ones."""
    return model.num_layers * _layer_weights(model) + model.hidden_size * model.padded_vocab_size


def _layer_weights(model: Config) -> int:
    hidden, width = model.hidden_size, attention_width(model)
    attention = hidden * (width + 2 * model.query_groups * model.head_size) + width * hidden
    router = hidden * model.num_moe_experts if model.num_moe_experts else 0
    return attention + router + _first_product(model) + hidden * model.mlp_size * _visited(model)


def _first_product(model: Config) -> int:
    return (2 if model.activation == "swiglu" else 1) * model.hidden_size * model.mlp_size * _visited(model)


def _visited(model: Config) -> int:
    """MLPs that a token meets."""
    return model.moe_router_topk if model.num_moe_experts else 1


def flops_per_sample(model: Config, tokens: int) -> int:
    """Floating-point operations of a sample of so many tokens, forward and backward, recomputation not counted.

    A matrix multiplication costs 2 operations per weight and token forward and twice that backward: 6
    (Narayanan et al. 2021, arXiv 2104.04473, appendix). Norms, activations, softmax and the embedding's look-up are
    not counted. For h x h attention and a 4h MLP this is 72 s l h^2 (1 + s/(6h) + V/(12lh)): that paper's F without
    recomputation, which is the model FLOP of Korthikanti et al. 2022, arXiv 2205.05198.
    """
    return 6 * matmul_weights(model) * tokens + attention_flops(model, tokens)


def attention_flops(model: Config, tokens: int) -> int:
    """Of these, attention's two products over the whole s x s square, causal or not: 12 x layers x width x s^2."""
    return 12 * model.num_layers * attention_width(model) * tokens**2


def palm_flops(model: Config, tokens: int) -> int:
    """The same as counted by Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B): 6 N + 12 L H Q T a token.

    N are all parameters, of experts those that a token is sent to: norms, biases, learned positions and the
    embedding among them, the latter once more than it multiplies where the output layer has weights of its own.
    """
    return 6 * active_parameters(model) * tokens + attention_flops(model, tokens)


def recomputed_flops_per_sample(model: Config, tokens: int, modules: Collection[str]) -> int:
    """Operations that the backward pass does again, counted alike: forward only, so 2 per weight and token.

    modules: of slipway.models.transformer.recompute. Of core attention, 4 x width x s per token and layer.
    """
    scores = 4 * attention_width(model) * tokens
    if LAYER in modules:
        again = 2 * _layer_weights(model) + scores
    else:
        again = 2 * _first_product(model) if {"mlp", "experts"} & set(modules) else 0
        again += scores if "attention" in modules else 0
    return tokens * model.num_layers * again


class Costs(NamedTuple):
    """Operations of a token in each kind of layer, forward and backward, with what is computed again."""

    embedding: int
    layer: int
    head: int


def costs(model: Config, tokens: int, modules: Collection[str]) -> Costs:
    """What layers cost beside each other, for laying them out; tokens: of a sample.

    The embedding multiplies nothing: one multiplication and addition for each number it looks up, and twice that
    backward, so that it counts as something.
    """
    layers = flops_per_sample(model, tokens) - 6 * model.hidden_size * model.padded_vocab_size * tokens
    again = recomputed_flops_per_sample(model, tokens, modules)
    return Costs(
        embedding=6 * model.hidden_size,
        layer=(layers + again) // (model.num_layers * tokens),
        head=6 * model.hidden_size * model.padded_vocab_size,
    )
