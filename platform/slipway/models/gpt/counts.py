"""Exact parameters, and floating-point operations, of a GPT as Megatron-core builds it. Pure Python."""

from slipway.config.schema import Training
from slipway.models.counts import Parameters, Shard
from slipway.models.gpt.config import GPTConfig


def num_layers(model: GPTConfig) -> int:
    """Layers that pipeline stages share out."""
    return model.num_layers


def tokens_per_sample(model: GPTConfig, training: Training) -> int:
    """Tokens of one sample."""
    return training.sequence_length


def attention_width(model: GPTConfig) -> int:
    """Width of all heads together."""
    return model.num_attention_heads * model.head_size


def parameters(model: GPTConfig) -> Parameters:
    """Parameters of the whole model, each counted once."""
    whole = stage_parameters(model, model.num_layers, first=True, last=True)
    idle = 0
    if model.num_moe_experts:
        idle = model.num_layers * (model.num_moe_experts - model.moe_router_topk) * _mlp(model, tp=1)
    return Parameters(total=whole.total, active=whole.total - idle)


def stage_parameters(
    model: GPTConfig, layers: int, *, first: bool, last: bool, tp: int = 1, ep: int = 1
) -> Shard:
    """Parameters of one rank for a chunk of `layers` layers.

    Sharded over tensor-parallel ranks: embedding and output layer by vocabulary; QKV and the first MLP layer
    with their biases by output; attention projection and the second MLP layer by input, their biases whole.
    Whole on every rank: norms, router, learned positions.

    Args:
        model: The model.
        layers: Transformer layers of the chunk.
        first: The chunk holds the embedding.
        last: The chunk holds the final norm and the output layer; where it is tied to an embedding in another
            chunk, it holds a copy of it.
        tp: Tensor-parallel size, also of the experts.
        ep: Expert-parallel size.
    """
    dense = layers * _layer_without_experts(model, tp)
    expert = 0
    if model.num_moe_experts:
        expert = layers * (model.num_moe_experts // ep) * _mlp(model, tp)
    table = model.padded_vocab_size // tp * model.hidden_size
    if first:
        dense += table
        if model.position_embedding_type == "learned_absolute":
            dense += model.max_position_embeddings * model.hidden_size
    if last:
        dense += _norm(model)
        if model.untie_embeddings_and_output_weights or not first:
            dense += table
    return Shard(dense=dense, expert=expert)


def _norm(model: GPTConfig) -> int:
    return model.hidden_size * (2 if model.normalization == "LayerNorm" else 1)


def _layer_without_experts(model: GPTConfig, tp: int) -> int:
    hidden, width = model.hidden_size, attention_width(model)
    qkv = width + 2 * model.query_groups * model.head_size
    bias = int(model.add_bias_linear)
    attention = qkv // tp * (hidden + bias) + width // tp * hidden + bias * hidden
    feed = hidden * model.num_moe_experts if model.num_moe_experts else _mlp(model, tp)
    return 2 * _norm(model) + attention + feed


def _mlp(model: GPTConfig, tp: int) -> int:
    """One MLP, or one expert; a gated one has two first layers."""
    bias = int(model.add_bias_linear)
    outputs = model.mlp_size // tp
    gates = 2 if model.activation == "swiglu" else 1
    return (
        gates * outputs * (model.hidden_size + bias) + outputs * model.hidden_size + bias * model.hidden_size
    )


def matmul_weights(model: GPTConfig) -> int:
    """Weights that multiply each token, the logits' included; of the experts only the active ones."""
    hidden, width = model.hidden_size, attention_width(model)
    attention = hidden * (width + 2 * model.query_groups * model.head_size) + width * hidden
    mlp = hidden * model.mlp_size * (3 if model.activation == "swiglu" else 2)
    if model.num_moe_experts:
        mlp = mlp * model.moe_router_topk + hidden * model.num_moe_experts
    return model.num_layers * (attention + mlp) + hidden * model.padded_vocab_size


def flops_per_sample(model: GPTConfig, training: Training) -> int:
    """Floating-point operations of one sample, forward and backward, recomputation not counted.

    A matrix multiplication costs 2 operations per weight and token forward and twice that backward: 6
    (Narayanan et al. 2021, arXiv 2104.04473, appendix). Attention's two products over the whole s x s square,
    causal or not, cost 12 x layers x width x s per token (Chowdhery et al. 2022, PaLM, arXiv 2204.02311,
    appendix B). Norms, activations, softmax and the embedding's look-up are not counted. For h x h attention
    and a 4h MLP this is 72 s l h^2 (1 + s/(6h) + V/(12lh)): the first paper's F without recomputation.
    """
    tokens = training.sequence_length
    per_token = 6 * matmul_weights(model) + 12 * model.num_layers * attention_width(model) * tokens
    return tokens * per_token
