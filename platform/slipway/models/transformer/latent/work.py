"""The computation and the exchanges of latent attention on one rank for one microbatch. Pure Python.

With several tensor-parallel ranks, sequence parallelism is assumed (slipway.models.gpt.rules.latent): each rank
computes the down-projections for its part of the sequence, and gathers latent states in place of the layer's input.
"""

from slipway.models.transformer.block import Latent
from slipway.models.transformer.products import linear
from slipway.models.transformer.share import Share
from slipway.models.work import Exchange, Pass, Product, Work


def attention(share: Share) -> Work:
    """Return the work of one layer; `again`: core attention, if its scores are recomputed."""
    latent, size = _latent(share), share.element_bytes
    here, heads = share.tokens // share.outside, share.block.num_attention_heads // share.tp
    ups = _ups(share)
    downs = [linear(share, here, latent.kv_down, share.block.hidden_size)]
    if latent.q_lora_rank:
        downs.append(linear(share, here, latent.q_lora_rank, share.block.hidden_size))
    last = linear(share, share.tokens, share.block.hidden_size, heads * latent.v_head_dim)
    core, core_backward, scores, scores_backward = _core(share)
    # queries and keys, part by part, rotated, joined, and values made contiguous
    joined = share.tokens * heads * (2 * latent.qk_size + latent.v_head_dim)
    moved = size * 2.0 * joined
    kernels = 27 + bool(latent.q_lora_rank)
    ring = _ring(share, core)
    ahead, back = _exchanges(share)
    products = [*downs, *ups]
    forward = Pass((*(one[0] for one in products), *core, last[0]), moved + scores, kernels, (*ahead, *ring))
    backward = Pass(
        (*(part for one in products for part in one[1:]), *core_backward, *last[1:]),
        moved + scores_backward,
        2 * kernels,
        (*back, *(each for each in ring for _ in range(2))),
    )
    found = Work(forward, backward, Pass(core, scores, 4))
    for rank in (latent.q_lora_rank, latent.kv_lora_rank):
        if rank:
            found += share.norm.work(here * rank * size)
    return found


def up_again(share: Share) -> Pass:
    """Return what the backward pass repeats with mla_up_proj: the up-projections, and the tensors joined from them."""
    latent, heads = _latent(share), share.block.num_attention_heads // share.tp
    joined = share.tokens * heads * (2 * latent.qk_size + latent.v_head_dim)
    ahead, _ = _exchanges(share)
    gathers = tuple(exchange for exchange in ahead if exchange.kind == "all_gather")
    return Pass(
        tuple(one[0] for one in _ups(share)),
        2.0 * share.element_bytes * joined,
        20,
        gathers[: len(_widths(share))],
    )


def _latent(share: Share) -> Latent:
    assert share.block.latent
    return share.block.latent


def _ups(share: Share) -> list[tuple[Product, Product, Product]]:
    latent, heads = _latent(share), share.block.num_attention_heads // share.tp
    source = latent.q_lora_rank or share.block.hidden_size
    return [
        linear(share, share.tokens, heads * latent.qk_size, source),
        linear(share, share.tokens, heads * latent.kv_up, latent.kv_lora_rank),
    ]


def _core(share: Share) -> tuple[tuple[Product, ...], tuple[Product, ...], float, float]:
    """Return core attention's products forward and backward, and the bytes of its scores, zero for flash attention."""
    latent, size, traits = _latent(share), share.element_bytes, share.traits
    rows, heads = share.length // share.cp, share.samples * share.block.num_attention_heads // share.tp
    keys, values = latent.qk_size, latent.v_head_dim
    if share.pads_heads:
        keys = values = max(keys, values)
    if traits.flash:

        def flash(head: int, count: int, pace: float) -> Product:
            part = 0.5 if share.block.causal else 1.0
            return Product(rows, share.length, head, count * heads, "attention", part, size, 0, pace)

        ahead, back = traits.attention_pace, traits.attention_backward_pace
        # backward: the scores again, and gradients of queries and keys; gradients of values and of the probabilities
        return (
            (flash(keys, 1, ahead), flash(values, 1, ahead)),
            (flash(keys, 3, back), flash(values, 2, back)),
            0.0,
            0.0,
        )
    one = Product(rows, share.length, keys, heads, "linear", 1.0, size, size)
    other = Product(rows, values, share.length, heads, "linear", 1.0, size, size)
    each = float(heads * rows * share.length)
    dropout = traits.dropout
    return (one, other), (one, other, one, other), each * (9 if dropout else 4), each * (11 if dropout else 6)


def _ring(share: Share, core: tuple[Product, ...]) -> tuple[Exchange, ...]:
    """Return the exchange of context parallelism: the keys and values of all heads, for the whole sequence.

    They reach every rank while attention runs.
    """
    latent = _latent(share)
    if share.cp == 1:
        return ()
    width = share.block.num_attention_heads // share.tp * (latent.qk_size + latent.v_head_dim)
    return (
        Exchange(
            "all_gather", "context", float(width * share.element_bytes * share.tokens * share.cp), beside=core
        ),
    )


def _widths(share: Share) -> tuple[int, ...]:
    """Return how many numbers of each token tensor-parallel ranks gather before each up-projection."""
    latent = _latent(share)
    return latent.q_lora_rank or share.block.hidden_size, latent.kv_lora_rank, latent.qk_pos_emb_head_dim


def _exchanges(share: Share) -> tuple[tuple[Exchange, ...], tuple[Exchange, ...]]:
    """Return the exchanges of tensor-parallel ranks, forward and backward."""
    if share.tp == 1:
        return (), ()
    bytes_of = share.tokens * share.element_bytes
    states = [float(width * bytes_of) for width in _widths(share)]
    whole = float(share.block.hidden_size * bytes_of)
    beside = share.traits.tensor_async
    ups = _ups(share)
    ahead = [Exchange("all_gather", "tensor", state) for state in states]
    back = [Exchange("all_gather", "tensor", whole)]
    for state, (_, of_input, of_weight) in zip(states, ups, strict=False):
        # the products' inputs once more, for the weights' gradients
        back.append(Exchange("all_gather", "tensor", state, beside=(of_input,) if beside else ()))
        back.append(Exchange("reduce_scatter", "tensor", state, beside=(of_weight,) if beside else ()))
    back.append(Exchange("reduce_scatter", "tensor", states[-1]))
    return (*ahead, Exchange("reduce_scatter", "tensor", whole)), tuple(back)
