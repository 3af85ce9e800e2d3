"""Exact parameters and floating-point operations of a transformer layer as Megatron-core builds it. Pure Python.

Sharded over tensor-parallel ranks: QKV and the first MLP layer with their biases by output; attention projection and
the second MLP layer by input, with whole biases; shared experts likewise. Whole on every rank: norms and router. For
latent attention, see slipway.models.transformer.latent.counts. Below, tp is the tensor-parallel size, also for the
experts; ep is the expert-parallel size.
"""

from collections.abc import Collection

from slipway.models.family import Shard
from slipway.models.transformer.block import Block
from slipway.models.transformer.latent import counts as latent
from slipway.models.transformer.recompute import LAYER


def layer(block: Block, tp: int = 1, ep: int = 1) -> Shard:
    """Return the parameters of one layer on one rank."""
    expert = (block.num_experts // ep) * _mlp(block, tp) if block.num_experts else 0
    return Shard(_without_experts(block, tp), expert)


def matrices(block: Block, tp: int = 1, ep: int = 1) -> Shard:
    """Return the parameters of one layer on one rank in hidden matrices: all but norms and biases."""
    dense, expert = layer(block._replace(bias=False, qkv_bias=False), tp, ep)
    return Shard(dense - _norms(block), expert)


def idle(block: Block) -> int:
    """Return the parameters of one layer that a token does not use: those of experts that it is not sent to."""
    return (block.num_experts - block.topk) * _mlp(block, tp=1) if block.num_experts else 0


def norm(block: Block) -> int:
    """Return the parameters of one norm."""
    return block.hidden_size * (2 if block.normalization == "LayerNorm" else 1)


def _without_experts(block: Block, tp: int) -> int:
    hidden = block.hidden_size
    attention = latent.parameters(block, tp) if block.latent else _attention(block, tp)
    feed = hidden * block.num_experts + _shared(block, tp) if block.num_experts else _mlp(block, tp)
    return _norms(block) + attention + feed


def _attention(block: Block, tp: int) -> int:
    hidden, bias = block.hidden_size, int(block.bias)
    qkv = block.width + 2 * block.group_width
    return qkv // tp * (hidden + int(block.qkv_bias)) + block.width // tp * hidden + bias * hidden


def _norms(block: Block) -> int:
    """Return the parameters of the norms before attention and MLP, and of those of heads or latent states."""
    inside = 2 * block.head_size if block.qk_norm else 0
    if block.latent:
        inside = latent.normed(block)
    return 2 * norm(block) + norm(block) // block.hidden_size * inside


def _mlp(block: Block, tp: int) -> int:
    """Return the parameters of one MLP, or of one expert."""
    hidden, bias, outputs = block.hidden_size, int(block.bias), block.mlp_size // tp
    return block.gates * outputs * (hidden + bias) + outputs * hidden + bias * hidden


def _shared(block: Block, tp: int) -> int:
    """Return the parameters of the shared experts: one MLP without biases."""
    return (block.gates + 1) * block.shared_size // tp * block.hidden_size


def weights(block: Block) -> int:
    """Return the weights of one layer that multiply each token; of the experts only the active ones."""
    hidden, width = block.hidden_size, block.width
    attention = hidden * (width + 2 * block.group_width) + width * hidden
    if block.latent:
        attention = latent.weights(block)
    router = hidden * block.num_experts if block.num_experts else 0
    second = hidden * (block.mlp_size * block.visited + block.shared_size)
    return attention + router + _first_product(block) + _first_product_of_shared(block) + second


def _first_product(block: Block) -> int:
    return block.gates * block.hidden_size * block.mlp_size * block.visited


def _first_product_of_shared(block: Block) -> int:
    return block.gates * block.hidden_size * block.shared_size


def flops(block: Block, tokens: int) -> int:
    """Return the floating-point operations of one layer for a sample of so many tokens, forward and backward.

    A matrix multiplication costs 2 operations per weight and token forward and twice that backward: 6 (Narayanan et al.
    2021, arXiv 2104.04473, appendix). Norms, activations, softmax and recomputation are not counted.
    """
    return 6 * weights(block) * tokens + attention_flops(block, tokens)


def attention_flops(block: Block, tokens: int) -> int:
    """Return the part of `flops` for attention's two products over the whole s x s square: 12 x width x s^2.

    The square is counted whether the model is causal or not. If values differ in size from queries, it is 6 x (their
    width + that of queries) x s^2. In a layer with a sliding window of w tokens, s x w replaces s^2: the whole band, of
    which a causal model needs all but the corner at the beginning. So a window as long as the sample counts like none.
    """
    return 3 * tokens * _scores(block, tokens)


def _scores(block: Block, tokens: int) -> int:
    """Return the forward operations per token: 2 for each channel of a head's queries and values, and token seen."""
    return 2 * block.num_attention_heads * (block.head_size + block.value_size) * block.seen(tokens)


def recomputed_flops(block: Block, tokens: int, modules: Collection[str]) -> int:
    """Return the operations of one layer that the backward pass repeats: forward only, so 2 per weight and token.

    modules: of slipway.models.transformer.recompute. Core attention takes 4 x width x s per token.
    """
    scores = _scores(block, tokens)
    if LAYER in modules:
        again = 2 * weights(block) + scores
    else:
        again = 2 * _first_product(block) if ("experts" if block.num_experts else "mlp") in modules else 0
        again += 2 * _first_product_of_shared(block) if "shared_experts" in modules else 0
        again += scores if "attention" in modules else 0
        again += 2 * latent.products_up(block) if "mla_up_proj" in modules and block.latent else 0
    return tokens * again
