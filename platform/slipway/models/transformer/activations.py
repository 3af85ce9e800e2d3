"""Memory of a transformer layer's activations. Pure Python.

Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), section 4:
a layer keeps s b h (34 + 5 a s / h) bytes in 16 bits with dropout. Here the same inventory is taken tensor by tensor,
so that it also holds for fp32, rotary embedding, grouped queries, gated MLPs, experts, no dropout, and modules that are
recomputed. Flash attention replaces the second term by one number per row and head. What the kernels of a CPU keep in
addition is counted for CPUs. tests/models/gpt/test_kept_bytes.py measures what a layer really keeps.

A mixture's tokens are assumed to be distributed evenly. Not counted: norms' statistics, the router's numbers and the
order of a mixture's tokens, together below three hundredths of a small layer.
"""

from collections.abc import Collection

from slipway.kernels.sizes import WINDOW_QUERIES
from slipway.models.transformer.latent import activations as latent
from slipway.models.transformer.recompute import LAYER, keeps_scores
from slipway.models.transformer.share import Share


def layer_bytes(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes that one layer keeps of one microbatch on one rank until its backward pass.

    recomputed: the modules that are recomputed (see slipway.models.transformer.recompute).
    """
    if LAYER in recomputed:
        return share.state_bytes  # the layer's input alone
    tp, tokens = share.tp, share.tokens
    whole, split = _feed_forward(share, recomputed)
    tables = _turns(share, recomputed) * tokens // share.samples + _band(share)
    return (
        tables
        + tokens * _between(share, recomputed) // share.outside
        + tokens * (whole + (latent.gathered(share, recomputed) if share.block.latent else 0))
        + tokens * (_attention(share, recomputed) + split) // tp
    )


def inside_bytes(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes that one layer needs in its backward pass besides what it has kept, at the peak.

    Recomputed activations exist together with the gradients: those of the MLP or, if its scores are recomputed, those
    of core attention, by which time the MLP's have been released.
    """
    kept = layer_bytes(share, recomputed)
    if "attention" not in recomputed:
        return layer_bytes(share, ()) - kept + _gradients(share, recomputed)
    scores = layer_bytes(share, set(recomputed) - {"attention"}) - kept
    others = layer_bytes(share, ()) - kept - scores + _gradients(share, recomputed)
    return max(others, 2 * scores)  # gradients of probabilities and of the scores that they were made from


def _gradients(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes of the gradients that exist at once in a layer's backward pass, at the peak.

    The peak is in the backward pass of one of the MLP's products: gradients of its output, of its input, of its weight
    before that is added to the main gradient, and of the residual stream. At the first product, what lies behind it has
    been released. Experts have their output once more, in the tokens' order. What is recomputed exists twice, as it was
    computed and in its earlier place; for a whole layer that is its output.
    """
    block, tokens, hidden = share.block, share.tokens, share.block.hidden_size
    again = {"activation", _feed(share)} & set(recomputed)
    state = share.state_bytes * (2 if LAYER in recomputed else 1)
    if not block.num_experts:
        fullest = (
            _of_products(share, tokens, hidden, bool(again)) * block.mlp_size // share.tp + tokens * hidden
        )
        return share.element_bytes * fullest + state
    visits = block.topk * tokens
    weight = block.num_experts // share.layout.expert_model_parallel_size * hidden
    fullest = (
        _of_products(share, visits, weight, bool(again)) * block.mlp_size // share.tp + 2 * visits * hidden
    )
    again = {"activation", "shared_experts"} & set(recomputed)
    shared = (
        _of_products(share, tokens, hidden, bool(again)) * block.shared_size // share.tp + tokens * hidden
    )
    return max(share.element_bytes * max(fullest, shared), _of_weighting(share, visits, recomputed)) + state


def _of_weighting(share: Share, visits: int, recomputed: Collection[str]) -> int:
    """Return the bytes of the backward pass while the router, in fp32, weights experts' activations in 16 bits.

    Three tensors as wide as the activations are then in fp32: their gradient, and its products with the weights and
    with the activations. The gradient in 16 bits takes the place of the second product's input, of which there is one
    more if it is recomputed.
    """
    if share.element_bytes == 4 or _fuses_activation(share):
        return 0
    again = 2 * share.element_bytes if {"activation", "experts"} & set(recomputed) else 0
    return (3 * 4 + again) * visits * share.block.mlp_size // share.tp


def _of_products(share: Share, visits: int, weight: int, again: bool) -> int:
    """Return the elements per MLP channel that exist in the backward pass of the larger of the MLP's two products.

    visits: tokens that pass through it. weight: rows of its weights' gradients. again: whether it recomputes its
    activation.
    """
    gates = share.block.gates
    released = (
        3 if gates == 2 and not _fuses_activation(share) else 1
    )  # the two factors that SwiGLU multiplies, and its output
    second, first = visits + weight, gates * (visits + weight) - released * visits
    return max(first, second + (visits if again else 0))


# Below: bytes per token.


def _between(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes kept between the tensor-parallel regions, which only sequence parallelism splits."""
    block, size = share.block, share.element_bytes
    norm = size + norm_bytes(share)  # its output, the input of a product
    states = latent.states(share, norm) if block.latent else 0
    if "norm" in recomputed:
        norm = 0
    mask = (size if share.on_cpu else 1) if block.hidden_dropout else 0
    return 2 * block.hidden_size * (size + norm + mask) + states  # size: the norm's input


def norm_bytes(share: Share) -> int:
    """Return the bytes that a norm keeps for each element besides its input and output; in bf16, a layer's mean.

    On a CPU these are, in fp32, the normalized input; in bf16 also a copy of the input, which one of the two norms has
    instead.
    """
    if not share.on_cpu or share.block.normalization != "RMSNorm":
        return 0
    return 4 if share.element_bytes == 4 else 7


def _attention(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes from the output of the product for Q, K and V to the input of the projection, for all heads."""
    block, size, cp = share.block, share.element_bytes, share.cp
    width, group, rotary = block.width, block.group_width, block.rotary
    scores = keeps_scores(share.config, share.block) and "attention" not in recomputed
    numbers = _scores(share) if scores else 0
    if not keeps_scores(share.config, share.block):
        numbers = 4 * block.num_attention_heads  # a row's log-sum-exp, fp32
    if block.latent:
        return latent.heads(share, recomputed, scores) + numbers
    # The product's output stays as a whole while a view of it exists: of V, or of Q; for scores, copies stay.
    own = (
        block.normalization == "RMSNorm" and share.on_cpu
    )  # written out: numbers in fp32 stay, and no others in bf16
    normed = block.qk_norm and not (own and size == 2)  # the norms' inputs stay
    stretches, copied, every = _stretches(share)
    kept = 0 if (cp > 1 or every) and (rotary or scores) and not normed else width + 2 * group
    if normed and block.num_attention_heads != block.query_groups > share.tp:
        kept += width  # queries of several groups are copied out of the product's result
    if block.qk_norm and not rotary:
        kept += width + group  # the norms' outputs
    if block.qk_norm and own:
        numbers += (4 if size == 4 else 8) * (width + group)
    if rotary:
        kept += width + (group if cp == 1 and not every else 0)
    if cp > 1 and not every:
        kept += 2 * group * cp  # K and V of the whole sequence
    kept += width  # the projection's input
    if (cp > 1 and not scores) or share.apart or stretches > 1:
        kept += width  # joined from the results of several stretches, which stay
    numbers += int(copied * size)
    if scores:
        kept += 2 * width  # scaled copies of Q and K
    return size * kept + numbers


def _scores(share: Share) -> int:
    """Return the bytes of softmax, the dropout's noise and their product, in fp32.

    With context parallelism they are those of a rank's two chunks of the sequence, for example the first and the last
    of 2 cp, with the keys before each.
    """
    cp, seen = share.cp, share.block.seen(share.length)
    keys = share.length * (2 * cp + 1) // (4 * cp) if cp > 1 else share.length
    if _slides(share):
        keys = min(keys, max(seen, WINDOW_QUERIES) + seen)
    return 12 * share.block.num_attention_heads * keys


def _slides(share: Share) -> bool:
    """Return whether torch's attention uses a sliding window (slipway.kernels.windows)."""
    return share.block.seen(share.length) < share.length and share.config.kernels.attention != "te"


def _stretches(share: Share) -> tuple[int, float, bool]:
    """Return how each part of the sequence is computed in chunks of queries.

    The number of chunks; the channels of keys and values that they copy, per token; whether all of them copy, so that
    the keys and values themselves are released.
    """
    block, cp = share.block, share.cp
    if not _slides(share):
        return 1, 0.0, False
    window, rows = block.seen(share.length), share.length // (2 * cp if cp > 1 else 1)
    step = max(window, WINDOW_QUERIES)
    number = -(-rows // step)
    later = max(0, rows - step) + (number - 1) * window  # keys of all stretches but the first
    if share.on_cpu or block.num_attention_heads == block.query_groups:
        return number, 2 * block.group_width * later / rows, False
    every = step > window  # else the sequence's first one is causal, without a mask
    masked = later + min(step, rows) if every or cp > 1 else later
    return number, 2 * block.width * masked / rows, every  # for each head


def _band(share: Share) -> int:
    """Return the bytes of the mask that chunks of queries share."""
    window, rows = share.block.seen(share.length), share.length // (2 * share.cp if share.cp > 1 else 1)
    if not _slides(share) or (share.cp == 1 and rows <= window):
        return 0
    step = min(rows, max(window, WINDOW_QUERIES))
    return share.element_bytes * step * min(share.length, step + window * (rows > step or share.cp > 1))


def _turns(share: Share, recomputed: Collection[str]) -> int:
    """Return the bytes of the rotary embedding's tables for Q and for K, the same for all samples."""
    block, backend = share.block, "unfused" if share.on_cpu else share.config.kernels.rotary
    if not block.rotary:
        return 0
    if block.latent:
        return latent.tables(share, recomputed)
    # sines and cosines; torch's compiled function has half of them, in fp32; Triton and te take the angles alone
    return {"unfused": 4 * share.element_bytes, "torch": 8}.get(backend or "", 0) * block.head_size


def _feed_forward(share: Share, recomputed: Collection[str]) -> tuple[int, int]:
    """Return the bytes of the MLP, or of the experts that a token visits.

    The first number is what each tensor-parallel rank has whole, the second what the ranks share.
    """
    block, size = share.block, share.element_bytes
    split = _widths(share, _feed(share), recomputed)
    # each expert has its own copy of a token, from all tensor-parallel ranks
    visited, copy = (block.topk, block.hidden_size) if block.num_experts else (1, 0)
    shared = _widths(share, "shared_experts", recomputed) * block.shared_size
    return visited * size * copy, size * (visited * split * block.mlp_size + shared)


def _widths(share: Share, module: str, recomputed: Collection[str]) -> int:
    """Return how many tensors as wide as the MLP are kept. module: its name in training.recompute_modules."""
    gated = share.block.activation == "swiglu"
    if module in recomputed:
        return 0
    kept = 2 if gated else 1  # the activation's input
    if "activation" not in recomputed:
        kept += 1  # and its output
        kept += 2 if gated and not _fuses_activation(share) else 0  # the gate, and what it multiplies
    return kept


def _feed(share: Share) -> str:
    """Return the module of slipway.models.transformer.recompute between a layer's second norm and its end."""
    return "experts" if share.block.num_experts else "mlp"


def _fuses_activation(share: Share) -> bool:
    """Return whether SwiGLU is one kernel, as with `auto` on every GPU where Triton works."""
    return not share.on_cpu and share.config.kernels.activation != "unfused"
