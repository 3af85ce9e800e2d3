"""Memory that a GPT uses besides its transformer layers: for the embedding and the head. Pure Python."""

from slipway.config.schema import Kernels
from slipway.kernels.sizes import LOSS_CHUNK
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.share import Share


def embedding_bytes(share: Share) -> int:
    """Return the bytes that the embedding keeps of one microbatch: its dropout mask."""
    size = share.element_bytes if share.on_cpu else 1
    mask = size * share.block.hidden_size if share.block.hidden_dropout else 0
    return share.tokens * mask // share.outside


def head_bytes(share: Share) -> int:
    """Return the bytes that output layer and loss need for one microbatch, besides the input of the final norm.

    Fused (kernels.cross_entropy, see docs/kernels.md): the gradients of hidden states and weight, which exist at the
    same time, and the logits of some tokens, in bf16 twice. Otherwise the output layer's input, all logits, and their
    softmax in fp32.
    """
    config, size = share.config, share.element_bytes
    if not _is_fused(config.kernels):
        return loss_bytes(share)
    wide = size + 4 if config.training.precision == "bf16" else size
    return loss_bytes(share) + _chunk(share) * wide * _vocabulary(share)


def loss_bytes(share: Share) -> int:
    """Return the part of `head_bytes` that stays until the backward pass, for each loss of the output layer."""
    config, size, tokens = share.config, share.element_bytes, share.tokens
    hidden, vocabulary = share.block.hidden_size, _vocabulary(share)
    states, shared = tokens * hidden * size, share.state_bytes
    if not _is_fused(config.kernels):
        return 2 * shared + tokens * (size + 4) * vocabulary
    of_weight = (4 if tokens > _chunk(share) else size) * vocabulary * hidden
    return shared + states + of_weight


def _vocabulary(share: Share) -> int:
    return gpt_of(share.config).padded_vocab_size // share.tp


def _chunk(share: Share) -> int:
    return min(share.tokens, LOSS_CHUNK[share.config.cluster.device.kind])


def _is_fused(kernels: Kernels) -> bool:
    return (kernels.cross_entropy or ("te" if kernels.backend == "te" else "torch")) == "torch"
