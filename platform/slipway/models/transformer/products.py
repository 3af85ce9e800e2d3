"""A transformer layer's matrix products on one rank, and the exchanges around them. Pure Python.

Tensor-parallel ranks split the products as Megatron-core does (arXiv 1909.08053, section 3; with sequence parallelism
arXiv 2205.05198, section 4.2.2).
"""

from collections.abc import Sequence

from slipway.models.transformer.share import Share
from slipway.models.work import Exchange, Product


def linear(share: Share, m: int, n: int, k: int) -> tuple[Product, Product, Product]:
    """Return a linear layer's product, that of its input's gradient, and that of its weight's gradient."""
    size, pace = share.element_bytes, share.traits.product_pace
    return (
        Product(m, n, k, element_bytes=size, output_bytes=size, pace=pace),
        Product(m, k, n, element_bytes=size, output_bytes=size, pace=pace),
        Product(n, k, m, element_bytes=size, output_bytes=8, pace=pace, by_columns=True),
    )


def edges(
    share: Share, first: Sequence[Product], last: Sequence[Product]
) -> tuple[tuple[Exchange, ...], ...]:
    """Return the exchanges around a tensor-parallel region, forward and backward.

    first, last: its first and last linear layer, as `linear` returns them. In the backward pass Megatron-core gathers
    the input again while the input's gradient is computed, and reduces that while the weight's gradient is computed.
    """
    if share.tp == 1:
        return (), ()
    size = float(share.tokens * share.block.hidden_size * share.element_bytes)
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
