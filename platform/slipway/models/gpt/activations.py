"""Memory of a GPT's activations. Pure Python.

Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198),
section 4: a layer keeps s b h (34 + 5 a s / h) bytes in 16 bits with dropout. The same inventory is taken here tensor
by tensor, so that it also holds for fp32, rotary embedding, grouped queries, gated MLPs, experts, no dropout, and
modules that are computed again. Flash attention has replaced the second term by a number per row and head. What the
kernels of a CPU keep besides is counted for CPUs. tests/models/gpt/test_kept_bytes.py has what a layer really keeps.

A mixture's tokens are taken to be shared out evenly. Not counted: norms' statistics, the router's numbers and the
order of a mixture's tokens, together below three hundredths of a small layer.
"""

from collections.abc import Collection

from slipway.config.schema import Kernels, Parallelism, RunConfig, Training
from slipway.data.text.config import text_of
from slipway.kernels.sizes import LOSS_CHUNK
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.counts import attention_width
from slipway.models.transformer.recompute import LAYER, keeps_scores


def element_bytes(training: Training) -> int:
    """Bytes of one activation."""
    return 2 if training.precision == "bf16" else 4


def tokens_per_rank(config: RunConfig, layout: Parallelism) -> int:
    """Tokens of one microbatch on one context-parallel rank: s b / cp."""
    return text_of(config).sequence_length * config.training.micro_batch_size // layout.context_parallel_size


def state_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Bytes of what one layer hands to the next."""
    outside = layout.tensor_model_parallel_size if layout.sequence_parallel else 1
    return (
        tokens_per_rank(config, layout)
        * gpt_of(config).hidden_size
        * element_bytes(config.training)
        // outside
    )


def layer_bytes(config: RunConfig, layout: Parallelism, recomputed: Collection[str]) -> int:
    """Bytes one layer keeps of one microbatch on one rank until its backward pass.

    recomputed: what is computed again (see slipway.models.transformer.recompute).
    """
    if LAYER in recomputed:
        return state_bytes(config, layout)  # the layer's input alone
    tp, tokens = layout.tensor_model_parallel_size, tokens_per_rank(config, layout)
    outside = tp if layout.sequence_parallel else 1
    whole, split = _feed_forward(config, recomputed)
    tables = _turns(config) * tokens // config.training.micro_batch_size
    return (
        tables
        + tokens * _between(config, recomputed) // outside
        + tokens * whole
        + tokens * (_attention(config, layout, recomputed) + split) // tp
    )


def inside_bytes(config: RunConfig, layout: Parallelism, recomputed: Collection[str]) -> int:
    """Bytes that one layer needs in its backward pass besides what it has kept, at its fullest moment.

    What has been computed again is there with the gradients: of the MLP or, where its scores are computed again, of
    core attention, when what the MLP has computed again is gone.
    """
    kept = layer_bytes(config, layout, recomputed)
    if "attention" not in recomputed:
        return layer_bytes(config, layout, ()) - kept + _gradients(config, layout, recomputed)
    scores = layer_bytes(config, layout, set(recomputed) - {"attention"}) - kept
    others = layer_bytes(config, layout, ()) - kept - scores + _gradients(config, layout, recomputed)
    return max(others, 2 * scores)  # of probabilities and of what they were made from


def _gradients(config: RunConfig, layout: Parallelism, recomputed: Collection[str]) -> int:
    """Bytes of the gradients that are there at once in a layer's backward pass, at its fullest.

    That is in the backward pass of one of the MLP's products: the gradients of what it has returned, of its input and
    of its weight, before that is added to the main gradient, and of the residual stream. At the first product what lies
    behind it has been released. Experts have what they return once more, in the tokens' order. What is computed again
    is there twice, as it was computed and where it was before; of a whole layer that is what it returns.
    """
    model, size, tp = gpt_of(config), element_bytes(config.training), layout.tensor_model_parallel_size
    visited, experts, orders = 1, 1, 1
    if model.num_moe_experts:
        visited, orders = model.moe_router_topk, 2
        experts = model.num_moe_experts // layout.expert_model_parallel_size
    gates, tokens = 2 if model.activation == "swiglu" else 1, tokens_per_rank(config, layout)
    released = (
        3 if gates == 2 and not _fuses_activation(config) else 1
    )  # what SwiGLU multiplies, and what it returns
    visits, weight = visited * tokens, experts * model.hidden_size
    second, first = visits + weight, gates * (visits + weight) - released * visits
    if {"activation", "mlp", "experts"} & set(recomputed):
        second += visits
    state = state_bytes(config, layout) * (2 if LAYER in recomputed else 1)
    return size * (max(first, second) * model.mlp_size // tp + orders * visits * model.hidden_size) + state


# Below: bytes per token.


def _between(config: RunConfig, recomputed: Collection[str]) -> int:
    """Between the tensor-parallel regions, split only by sequence parallelism."""
    model, size, cpu = gpt_of(config), element_bytes(config.training), _on_cpu(config)
    norm = 0
    if "norm" not in recomputed:
        norm = size  # what it returns, the input of a product
        if cpu and model.normalization == "RMSNorm":
            # in fp32: the normalized input; in bf16 also a copy of the input, which one of both norms has instead
            norm += 4 if size == 4 else 7
    mask = (size if cpu else 1) if model.hidden_dropout else 0
    return 2 * model.hidden_size * (size + norm + mask)  # size: the norm's input


def _attention(config: RunConfig, layout: Parallelism, recomputed: Collection[str]) -> int:
    """From what the product for Q, K and V returns to the input of the projection, all ranks' heads."""
    model, size, text = gpt_of(config), element_bytes(config.training), text_of(config)
    width, group, cp = (
        attention_width(model),
        model.query_groups * model.head_size,
        layout.context_parallel_size,
    )
    rotary = model.position_embedding_type == "rope"
    scores = keeps_scores(config, gpt_of(config).block) and "attention" not in recomputed
    # The product's result stays as a whole, as long as there is a view of it: of V, or of Q; of scores, copies stay.
    kept = 0 if cp > 1 and (rotary or scores) else width + 2 * group
    if rotary:
        kept += width + (group if cp == 1 else 0)
    if cp > 1:
        kept += 2 * group * cp  # K and V of the whole sequence
    kept += width  # the projection's input
    if (cp > 1 and not scores) or text.reset_attention_mask:
        kept += width  # joined from the results of several stretches, which stay
    numbers = (
        0 if keeps_scores(config, gpt_of(config).block) else 4 * model.num_attention_heads
    )  # a row's log-sum-exp, fp32
    if scores:
        # softmax, the dropout's noise and their product, in fp32, and scaled copies of Q and K; of a rank's two
        # stretches of the sequence, the first and the last of 2 cp for example, with the keys before each
        keys = text.sequence_length * (2 * cp + 1) // (4 * cp) if cp > 1 else text.sequence_length
        numbers = 12 * model.num_attention_heads * keys + 2 * size * width
    return size * kept + numbers


def _turns(config: RunConfig) -> int:
    """Of the rotary embedding, for Q and for K, the same for all samples."""
    model, backend = gpt_of(config), "unfused" if _on_cpu(config) else config.kernels.rotary
    if model.position_embedding_type != "rope":
        return 0
    # sines and cosines; torch's compiled function has half of them, in fp32; Triton and te take the angles alone
    return {"unfused": 4 * element_bytes(config.training), "torch": 8}.get(backend or "", 0) * model.head_size


def _feed_forward(config: RunConfig, recomputed: Collection[str]) -> tuple[int, int]:
    """Of the MLP or of the experts that a token visits: what each tensor-parallel rank has, and what they share."""
    model, size = gpt_of(config), element_bytes(config.training)
    gated = model.activation == "swiglu"
    split = 0
    if not {"mlp", "experts"} & set(recomputed):
        split = 2 if gated else 1  # the activation's input
        if "activation" not in recomputed:
            split += 1  # and what it returns
            split += 2 if gated and not _fuses_activation(config) else 0  # the gate, and what it multiplies
    # each expert has its own copy of a token, from all tensor-parallel ranks
    visited, copy = (model.moe_router_topk, model.hidden_size) if model.num_moe_experts else (1, 0)
    return visited * size * copy, visited * size * split * model.mlp_size


def _on_cpu(config: RunConfig) -> bool:
    return config.cluster.device.kind == "cpu"


def _fuses_activation(config: RunConfig) -> bool:
    """Whether SwiGLU is one kernel, as `auto` has it on every GPU where Triton works."""
    return not _on_cpu(config) and config.kernels.activation != "unfused"


def embedding_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Bytes the embedding keeps of one microbatch: its dropout mask."""
    model = gpt_of(config)
    outside = layout.tensor_model_parallel_size if layout.sequence_parallel else 1
    size = element_bytes(config.training) if _on_cpu(config) else 1
    mask = size * model.hidden_size if model.hidden_dropout else 0
    return tokens_per_rank(config, layout) * mask // outside


def head_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Bytes the output layer and the loss need for one microbatch, beside the input of the final norm.

    Fused (kernels.cross_entropy, see docs/kernels.md): the gradients of hidden states and weight, which are there
    at once, and the logits of some tokens, in bf16 twice. Otherwise the output layer's input, all logits, and
    their softmax in fp32.
    """
    model, training = gpt_of(config), config.training
    size, tp = element_bytes(training), layout.tensor_model_parallel_size
    tokens, vocabulary = tokens_per_rank(config, layout), model.padded_vocab_size // tp
    states = tokens * model.hidden_size * size
    shared = states // (tp if layout.sequence_parallel else 1)
    if not _is_fused(config.kernels):
        return 2 * shared + tokens * (size + 4) * vocabulary
    chunk = min(tokens, LOSS_CHUNK[config.cluster.device.kind])
    wide = size + 4 if training.precision == "bf16" else size
    of_weight = (4 if tokens > chunk else size) * vocabulary * model.hidden_size
    return shared + states + of_weight + chunk * wide * vocabulary


def _is_fused(kernels: Kernels) -> bool:
    return (kernels.cross_entropy or ("te" if kernels.backend == "te" else "torch")) == "torch"
