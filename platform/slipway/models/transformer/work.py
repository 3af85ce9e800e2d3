"""The computation and the exchanges of a transformer layer on one rank for one microbatch. Pure Python.

slipway.models.transformer.moves has what operators without a product read and write, fused or one by one.
"""

from slipway.kernels.sizes import window_pairs
from slipway.models.transformer import recompute
from slipway.models.transformer.latent import work as latent
from slipway.models.transformer.products import edges, linear
from slipway.models.transformer.share import Share
from slipway.models.work import Exchange, Pass, Product, Work


def layer(share: Share) -> Work:
    """Return the work of one transformer layer."""
    again = share.recomputed
    block = share.block
    attention = latent.attention(share) if block.latent else _attention(share)
    feed = _experts(share) if block.num_experts else _mlp(share, block.mlp_size)
    between, shared = _between(share), _mlp(share, block.shared_size) if block.shared_size else Work()
    forward = attention.forward + feed.forward + shared.forward + between.forward
    backward = attention.backward + feed.backward + shared.backward + between.backward
    repeated = Pass()
    if recompute.LAYER in again:
        repeated = forward
    else:
        if "norm" in again:
            repeated += between.again
        module = "experts" if block.num_experts else "mlp"
        for part, name in ((feed, module), *([(shared, "shared_experts")] if block.shared_size else [])):
            if name in again:
                repeated += part.again
            elif "activation" in again:
                repeated += Pass(moved_bytes=part.again.moved_bytes, kernels=1)
        if "mla_up_proj" in again and block.latent:
            repeated += latent.up_again(share)
        if not share.traits.flash and share.traits.scores_again:
            repeated += attention.again
    return Work(forward, backward, repeated)


def _attention(share: Share) -> Work:
    block, tokens, tp, size = share.block, share.tokens, share.tp, share.element_bytes
    width, group = block.width // tp, block.group_width // min(tp, block.query_groups)
    first = linear(share, tokens, width + 2 * group, block.hidden_size)
    last = linear(share, tokens, block.hidden_size, width)
    rows = share.length // share.cp
    heads = share.samples * max(1, block.num_attention_heads // tp)
    around = _around_attention(share, width, group)
    if share.traits.flash:
        core = (
            Product(
                rows,
                share.length,
                block.head_size,
                2 * heads,
                "attention",
                _computed(share),
                size,
                0,
                share.traits.attention_pace,
            ),
        )
        core_backward = (core[0]._replace(count=5 * heads, pace=share.traits.attention_backward_pace),)
        scores = scores_backward = 0.0
    else:
        one = Product(rows, share.length, block.head_size, heads, "linear", 1.0, size, size)
        other = Product(rows, block.head_size, share.length, heads, "linear", 1.0, size, size)
        core, core_backward = (one, other), (one, other, one, other)
        each = float(heads * rows * share.length)
        scores, scores_backward = (
            each * (9 if share.traits.dropout else 4),
            each * (11 if share.traits.dropout else 6),
        )
    ring = _ring(share, group, core)
    ahead, back = edges(share, first, last)
    forward = Pass((first[0], *core, last[0]), scores, 6, (*ahead, *ring))
    backward = Pass(
        (*first[1:], *core_backward, *last[1:]),
        scores_backward,
        12,
        (*back, *(each for each in ring for _ in range(2))),
    )
    return Work(forward + around.forward, backward + around.backward, Pass(core, scores, 4))


def _around_attention(share: Share, width: int, group: int) -> Work:
    """Return the work of the norms and the rotation of queries and keys, the gradients' joining, and the biases."""
    block, moves, each = share.block, share.moves, share.element_bytes * share.tokens
    turned, joined = each * (width + group), each * (width + 2 * group)
    found = moves.split.work(joined)
    if block.rotary:
        found += moves.rotary.work(turned)
    if block.qk_norm:  # two norms, of half of the elements each
        found += share.norm.work(turned / 2) + share.norm.work(turned / 2)
    if block.qkv_bias:
        found += moves.bias.work(joined)
    if block.bias:
        found += moves.bias.work(each * block.hidden_size)
    return found


def _computed(share: Share) -> float:
    """Return the fraction of a square of scores that flash attention computes."""
    block, length = share.block, share.length
    if not block.causal:
        return 1.0
    seen = block.seen(length)
    if seen == length:
        return 0.5
    if share.config.kernels.attention == "te":  # flash attention itself skips what is outside of the window
        return seen / length - 0.5 * (seen / length) ** 2
    return window_pairs(length, seen) / length**2


def _ring(share: Share, group: int, core: tuple[Product, ...]) -> tuple[Exchange, ...]:
    """Return the exchange of context parallelism: all keys and values reach every rank while attention runs."""
    cp = share.cp
    if cp == 1:
        return ()
    size = 2.0 * group * share.element_bytes * share.tokens * cp
    return (Exchange("all_gather", "context", size, beside=core),)


def _mlp(share: Share, whole: int) -> Work:
    """Return the work of an MLP; whole: its width over all tensor-parallel ranks."""
    block, tokens, tp = share.block, share.tokens, share.tp
    width, each = whole // tp, tokens * share.element_bytes
    first = linear(share, tokens, block.gates * width, block.hidden_size)
    last = linear(share, tokens, block.hidden_size, width)
    active = share.activation.work(each * width)
    ahead, back = edges(share, first, last)
    found = active + Work(
        Pass((first[0], last[0]), 0.0, 2, ahead),
        Pass((*first[1:], *last[1:]), 0.0, 4, back),
        active.forward + Pass((first[0],), 0.0, 1, ahead[:1]),
    )
    if block.bias:
        found += share.moves.bias.work(each * block.gates * width)
        found += share.moves.bias.work(each * block.hidden_size)
    return found


def _experts(share: Share) -> Work:
    """Return the work of a mixture with evenly distributed tokens: a rank's experts take as many as the rank sends."""
    block, tokens, tp, size = share.block, share.tokens, share.tp, share.element_bytes
    assert block.num_experts
    ep, hidden = share.layout.expert_model_parallel_size, block.hidden_size
    width, local = block.mlp_size // tp, block.num_experts // ep
    routed = tokens * block.topk
    each = max(1, routed // local)
    first = [
        product._replace(kind="grouped", count=local)
        for product in linear(share, each, block.gates * width, hidden)
    ]
    last = [product._replace(kind="grouped", count=local) for product in linear(share, each, hidden, width)]
    router = linear(share, tokens // share.outside, block.num_experts, hidden)
    active = share.activation.work(size * routed * width)
    sent_bytes = float(size * routed * hidden)
    permuted = share.moves.experts.work(sent_bytes / share.outside)
    gathered = 4.0 * sent_bytes * (share.tp > 1)
    sent = _dispatch(share, routed)
    return (active + permuted) + Work(
        Pass((router[0], first[0], last[0]), gathered, 2, sent),
        Pass((*router[1:], *first[1:], *last[1:]), gathered, 1, sent),
        active.forward + Pass((first[0],), 0.0, 1),
    )


def _dispatch(share: Share, routed: int) -> tuple[Exchange, ...]:
    """Return the exchanges that send tokens to the experts' ranks and back."""
    layout, hidden = share.layout, share.block.hidden_size
    ep, tp, size = layout.expert_model_parallel_size, share.tp, share.element_bytes
    if layout.moe_token_dispatcher_type == "allgather" and ep * tp > 1:
        whole = float(share.tokens * hidden * size * ep)
        return (
            Exchange("all_gather", "tensor_expert", whole),
            Exchange("reduce_scatter", "tensor_expert", whole),
        )
    exchanges: list[Exchange] = []
    if ep > 1:
        copies = share.block.topk if layout.moe_token_dispatcher_type == "flex" else 1
        sent = float(routed * hidden * size) / share.outside
        exchanges += [Exchange("all_to_all", "expert", sent, copies)] * 2
    if tp > 1:
        whole = float(routed * hidden * size)
        exchanges += [
            Exchange("all_gather", "tensor", whole),
            Exchange("reduce_scatter", "tensor", whole),
        ]
    return tuple(exchanges)


def _between(share: Share) -> Work:
    """Return the work of a layer's norms, biases, dropouts and residuals; `again`: its norms."""
    size = share.element_bytes * share.tokens * share.block.hidden_size / share.outside
    norm, residual = share.norm.work(size), share.moves.residual.work(size)
    return norm + norm + residual + residual + Work(again=norm.forward + norm.forward)
