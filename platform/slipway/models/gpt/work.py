"""What a GPT's layers compute and exchange on one rank for one microbatch. Pure Python.

Products as Megatron-core splits them over tensor-parallel ranks (arXiv 1909.08053, section 3; with sequence parallelism
arXiv 2205.05198, section 4.2.2). Bytes count what each fused kernel reads and writes; operators that torch computes one
by one move more, by their own kernels.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.data.text.config import text_of
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.counts import attention_width
from slipway.models.transformer import recompute
from slipway.models.work import Exchange, Pass, Product, Work


class Traits(NamedTuple):
    """How things are computed, where frameworks differ. The defaults are Slipway's."""

    flash: bool = True
    """Attention in one kernel that keeps no scores, and skips what the mask hides."""
    scores_again: bool = False
    """Without flash: scores are computed again in the backward pass."""
    dropout: bool = False
    """Without flash: of attention."""
    attention_pace: float = 1.0
    """Speed of attention's kernel, forward, beside the device's best."""
    attention_backward_pace: float = 1.0
    product_pace: float = 1.0
    """Speed of linear layers' kernels beside the device's best."""
    tensor_async: bool = True
    """In the backward pass, exchanges of tensor-parallel ranks beside the products that do not need them."""
    scattered_sends: bool = False
    """Without sequence parallelism: each tensor-parallel rank sends a part to the next stage, which gathers it."""


class Share(NamedTuple):
    """Sizes on one rank."""

    model: Config
    layout: Parallelism
    traits: Traits
    element_bytes: int
    tokens: int
    """Of one microbatch and context-parallel rank."""
    samples: int
    sequence: int
    eager: bool
    """Operators by kernels of torch's own."""

    @property
    def tp(self) -> int:
        """Tensor-parallel size."""
        return self.layout.tensor_model_parallel_size

    @property
    def outside(self) -> int:
        """Parts of what lies between tensor-parallel regions."""
        return self.tp if self.layout.sequence_parallel else 1

    def linear(self, m: int, n: int, k: int) -> tuple[Product, Product, Product]:
        """A linear layer's product, its input's gradient, its weight's gradient."""
        size = self.element_bytes
        pace = self.traits.product_pace
        return (
            Product(m, n, k, element_bytes=size, output_bytes=size, pace=pace),
            Product(m, k, n, element_bytes=size, output_bytes=size, pace=pace),
            Product(n, k, m, element_bytes=size, output_bytes=8, pace=pace),
        )


def layers(config: RunConfig, layout: Parallelism, traits: Traits | None = None) -> list[Work]:
    """Work of the embedding, of each transformer layer, and of the head: final norm, output layer and loss.

    traits: of another framework; None: as Slipway computes.
    """
    model, text, training = gpt_of(config), text_of(config), config.training
    size = 2 if training.precision == "bf16" else 4
    kernels = config.kernels
    share = Share(
        model,
        layout,
        traits or Traits(),
        size,
        text.sequence_length * training.micro_batch_size // layout.context_parallel_size,
        training.micro_batch_size,
        text.sequence_length,
        eager="unfused" in (kernels.linear, kernels.activation, kernels.rotary),
    )
    block = _block(share, recompute.modules(config, gpt_of(config).block))
    fused = kernels.cross_entropy != "unfused"
    return [_embedding(share), *[block] * model.num_layers, _head(share, fused)]


def _block(share: Share, again: Collection[str]) -> Work:
    attention, feed = _attention(share), _experts(share) if share.model.num_moe_experts else _mlp(share)
    between = _between(share)
    forward = attention.forward + feed.forward + between.forward
    backward = attention.backward + feed.backward + between.backward
    repeated = Pass()
    if recompute.LAYER in again:
        repeated = forward
    else:
        if "norm" in again:
            repeated += between.again
        if {"mlp", "experts"} & set(again):
            repeated += feed.again
        elif "activation" in again:
            repeated += Pass(moved_bytes=feed.again.moved_bytes, kernels=1)
        if not share.traits.flash and share.traits.scores_again:
            repeated += attention.again
    return Work(forward, backward, repeated)


def _edges(
    share: Share, first: Sequence[Product], last: Sequence[Product]
) -> tuple[tuple[Exchange, ...], ...]:
    """Exchanges around a tensor-parallel region, forward and backward.

    first, last: its first and last linear layer, as Share.linear has them. In the backward pass Megatron-core gathers
    the input again while the input's gradient is computed, and reduces that while the weight's gradient is computed.
    """
    if share.tp == 1:
        return (), ()
    size = float(share.tokens * share.model.hidden_size * share.element_bytes)
    overlaps, beside = share.layout.tp_comm_overlap, share.traits.tensor_async
    one, other = ((first[0],), (last[0],)) if overlaps else ((), ())
    if share.layout.sequence_parallel:
        forward = (
            Exchange("all_gather", "tensor", size, beside=one),
            Exchange("reduce_scatter", "tensor", size, beside=other),
        )
        backward = (
            Exchange("all_gather", "tensor", size, beside=(last[1],) if overlaps else ()),
            Exchange("all_gather", "tensor", size, beside=(first[1],) if beside else ()),
            Exchange("reduce_scatter", "tensor", size, beside=(first[2],) if beside else ()),
        )
        return forward, backward
    return (Exchange("all_reduce", "tensor", size, beside=other),), (
        Exchange("all_reduce", "tensor", size, beside=(first[2],) if beside else ()),
    )


def _attention(share: Share) -> Work:
    model, tokens, tp, size = share.model, share.tokens, share.tp, share.element_bytes
    width, group = (
        attention_width(model) // tp,
        model.query_groups * model.head_size // min(tp, model.query_groups),
    )
    first = share.linear(tokens, width + 2 * group, model.hidden_size)
    last = share.linear(tokens, model.hidden_size, width)
    rows = share.sequence // share.layout.context_parallel_size
    heads = share.samples * max(1, model.num_attention_heads // tp)
    moved, kernels = 0.0, 6
    if model.position_embedding_type == "rope":
        moved += (8 if share.eager else 2) * size * tokens * (width + group)
        kernels += 16 if share.eager else 2
    if share.traits.flash:
        core = (
            Product(
                rows,
                share.sequence,
                model.head_size,
                2 * heads,
                "attention",
                0.5,
                size,
                0,
                share.traits.attention_pace,
            ),
        )
        core_backward = (core[0]._replace(count=5 * heads, pace=share.traits.attention_backward_pace),)
        scores = scores_backward = 0.0
    else:
        one = Product(rows, share.sequence, model.head_size, heads, "linear", 1.0, size, size)
        other = Product(rows, model.head_size, share.sequence, heads, "linear", 1.0, size, size)
        core, core_backward = (one, other), (one, other, one, other)
        each = float(heads * rows * share.sequence)
        scores, scores_backward = (
            each * (9 if share.traits.dropout else 4),
            each * (11 if share.traits.dropout else 6),
        )
    ring = _ring(share, group, core)
    ahead, back = _edges(share, first, last)
    forward = Pass((first[0], *core, last[0]), moved + scores, kernels, (*ahead, *ring))
    backward = Pass(
        (*first[1:], *core_backward, *last[1:]),
        moved + scores_backward,
        2 * kernels,
        (*back, *(each for each in ring for _ in range(2))),
    )
    return Work(forward, backward, Pass(core, scores, 4))


def _ring(share: Share, group: int, core: tuple[Product, ...]) -> tuple[Exchange, ...]:
    """Context parallelism: keys and values of the whole sequence reach every rank, beside attention."""
    cp = share.layout.context_parallel_size
    if cp == 1:
        return ()
    size = 2.0 * group * share.element_bytes * share.tokens * cp
    return (Exchange("all_gather", "context", size, beside=core),)


def _mlp(share: Share) -> Work:
    model, tokens, tp, size = share.model, share.tokens, share.tp, share.element_bytes
    gated = model.activation == "swiglu"
    width = model.mlp_size // tp
    first = share.linear(tokens, (2 if gated else 1) * width, model.hidden_size)
    last = share.linear(tokens, model.hidden_size, width)
    here, there = _activation(gated, share.eager)
    ahead, back = _edges(share, first, last)
    return Work(
        Pass((first[0], last[0]), float(here * size * tokens * width), 3, ahead),
        Pass((*first[1:], *last[1:]), float(there * size * tokens * width), 6, back),
        Pass((first[0],), float(here * size * tokens * width), 2, ahead[:1]),
    )


def _activation(gated: bool, eager: bool) -> tuple[int, int]:
    """Elements moved for each of the MLP's width, forward and backward."""
    if gated:
        return (5, 8) if eager else (3, 5)
    return 2, 3


def _experts(share: Share) -> Work:
    """A mixture whose tokens are shared out evenly: each rank's experts take as many as the rank sends."""
    model, tokens, tp, size = share.model, share.tokens, share.tp, share.element_bytes
    assert model.num_moe_experts
    ep, hidden = share.layout.expert_model_parallel_size, model.hidden_size
    gated = model.activation == "swiglu"
    width, local = model.mlp_size // tp, model.num_moe_experts // ep
    routed = tokens * model.moe_router_topk
    each = max(1, routed // local)
    first = [
        product._replace(kind="grouped", count=local)
        for product in share.linear(each, (2 if gated else 1) * width, hidden)
    ]
    last = [product._replace(kind="grouped", count=local) for product in share.linear(each, hidden, width)]
    router = share.linear(tokens // share.outside, model.num_moe_experts, hidden)
    here, there = _activation(gated, share.eager)
    permuted = 4.0 * size * routed * hidden / share.outside + 2.0 * size * routed * hidden * (share.tp > 1)
    sent = _dispatch(share, routed)
    moved = here * size * routed * width
    return Work(
        Pass((router[0], first[0], last[0]), moved + 2 * permuted, 24, sent),
        Pass((*router[1:], *first[1:], *last[1:]), there * size * routed * width + 2 * permuted, 36, sent),
        Pass((first[0],), float(moved), 2),
    )


def _dispatch(share: Share, routed: int) -> tuple[Exchange, ...]:
    """To the experts' ranks and back."""
    layout, hidden = share.layout, share.model.hidden_size
    ep, tp, size = layout.expert_model_parallel_size, share.tp, share.element_bytes
    if layout.moe_token_dispatcher_type == "allgather" and ep * tp > 1:
        whole = float(share.tokens * hidden * size * ep)
        return (
            Exchange("all_gather", "tensor_expert", whole),
            Exchange("reduce_scatter", "tensor_expert", whole),
        )
    exchanges: list[Exchange] = []
    if ep > 1:
        copies = share.model.moe_router_topk if layout.moe_token_dispatcher_type == "flex" else 1
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
    """Norms, biases, dropouts and residuals of a layer; `again`: its norms."""
    model, size = share.model, share.element_bytes
    elements = share.tokens * model.hidden_size / share.outside
    rms = model.normalization == "RMSNorm"
    norm, norm_backward = (14, 20) if share.eager and rms else (2, 3)
    return Work(
        Pass((), 2 * size * elements * (norm + 3), (12 if share.eager and rms else 4) + 2),
        Pass((), 2 * size * elements * (norm_backward + 4), 8),
        Pass((), 2 * size * elements * norm, 2),
    )


def _embedding(share: Share) -> Work:
    model, size = share.model, share.element_bytes
    elements = float(share.tokens * model.hidden_size)
    exchanges: tuple[Exchange, ...] = ()
    if share.tp > 1:
        kind = "reduce_scatter" if share.layout.sequence_parallel else "all_reduce"
        exchanges = (Exchange(kind, "tensor", elements * size),)
    gathers = (Exchange("all_gather", "tensor", elements * size),) if share.outside > 1 else ()
    return Work(
        Pass((), 3 * size * elements, 4, exchanges),
        Pass((), (2 * size + 8) * elements, 4, gathers),
    )


def _head(share: Share, fused: bool) -> Work:
    model, tokens, size = share.model, share.tokens, share.element_bytes
    vocabulary = model.padded_vocab_size // share.tp
    product = share.linear(tokens, vocabulary, model.hidden_size)
    each = float(tokens * vocabulary)
    elements = tokens * model.hidden_size / share.outside
    ahead, back = _edges(share, product, product)
    return Work(
        Pass((product[0],), 2 * size * elements + each * (6 if fused else 22), 8, ahead[:1]),
        Pass(product[1:], 3 * size * elements + each * (4 if fused else 14), 8, back[-2:]),
    )
