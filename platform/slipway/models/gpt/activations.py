"""Memory of a GPT's activations, first order. Pure Python.

Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198),
section 4: a layer keeps s b h (34 + 5 a s / h) bytes in 16 bits with dropout. The same inventory is taken
here tensor by tensor, so that it also holds for fp32, grouped queries, gated MLPs, experts, and no dropout;
with the paper's model and dropout it gives the paper's numbers.

Without attention dropout, a fused attention (scaled_dot_product_attention) is assumed, which never keeps the
s x s terms: one fp32 number per row and head stands for them. With attention dropout the unfused one is
assumed, which keeps them unless they are recomputed.
"""

from slipway.config.schema import Kernels, Parallelism, RunConfig, Training
from slipway.data.text.config import text_of
from slipway.kernels.sizes import LOSS_CHUNK
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.counts import attention_width


def element_bytes(training: Training) -> int:
    """Bytes of one activation."""
    return 2 if training.precision == "bf16" else 4


def tokens_per_rank(config: RunConfig, layout: Parallelism) -> int:
    """Tokens of one microbatch on one context-parallel rank: s b / cp."""
    return text_of(config).sequence_length * config.training.micro_batch_size // layout.context_parallel_size


def layer_bytes(config: RunConfig, layout: Parallelism, recompute: str) -> int:
    """Bytes one layer keeps of one microbatch on one rank until its backward pass."""
    model, training = gpt_of(config), config.training
    size, tp = element_bytes(training), layout.tensor_model_parallel_size
    outside = tp if layout.sequence_parallel else 1
    tokens, hidden = tokens_per_rank(config, layout), model.hidden_size
    if recompute == "full":
        return tokens * hidden * size // outside  # the layer's input alone

    # Between the tensor-parallel regions, split only by sequence parallelism: inputs of two norms, of QKV and
    # of the MLP; one byte per element of two dropout masks.
    between = hidden * size * 4 + (2 * hidden if model.hidden_dropout else 0)
    # Inside, split by tensor parallelism: Q, K, V, and the projection's input.
    width = attention_width(model)
    inside = size * (2 * width + 2 * model.query_groups * model.head_size)
    if recompute == "none":
        inside += _core_attention(model, text_of(config).sequence_length, size)
    # The MLP: its activation's input (two where gated) and output.
    mlp = size * model.mlp_size * (3 if model.activation == "swiglu" else 2)
    if model.num_moe_experts:
        # Each token visits top-k experts; their gathered inputs are copies.
        mlp = model.moe_router_topk * (mlp + hidden * size)
    return tokens * between // outside + tokens * (inside + mlp) // tp


def _core_attention(model: Config, length: int, size: int) -> int:
    """Bytes per token between Q K V and attention's output."""
    if model.attention_dropout:
        # softmax output, dropout mask (one byte), dropout output
        return model.num_attention_heads * length * (2 * size + 1)
    return 4 * model.num_attention_heads  # the row's log-sum-exp, fp32


def embedding_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Bytes the embedding keeps of one microbatch: its dropout mask."""
    model = gpt_of(config)
    outside = layout.tensor_model_parallel_size if layout.sequence_parallel else 1
    mask = model.hidden_size if model.hidden_dropout else 0
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
