"""The computation and the exchanges of a GPT's layers on one rank for one microbatch. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.prediction import planned as prediction
from slipway.models.gpt.share import of_layers, share_of
from slipway.models.transformer.products import edges, linear
from slipway.models.transformer.share import Share, Traits
from slipway.models.transformer.work import layer
from slipway.models.work import Exchange, Pass, Work


def layers(config: RunConfig, layout: Parallelism, traits: Traits | None = None) -> list[Work]:
    """Return the work of embedding, transformer layers, prediction, and head: norm, output layer and loss.

    traits: of another framework; None: as Slipway computes.
    """
    share = share_of(config, layout)._replace(traits=traits or Traits())
    fused = config.kernels.cross_entropy != "unfused"
    first, last = _embedding(share), _head(share, fused)
    depths = gpt_of(config).prediction_depths
    ahead = [prediction.work(share, first, last)] * depths if depths else []
    return [first, *of_layers(share, layer), *ahead, last]


def _embedding(share: Share) -> Work:
    size = share.element_bytes
    elements = float(share.tokens * share.block.hidden_size)
    exchanges: tuple[Exchange, ...] = ()
    if share.tp > 1:
        kind = "reduce_scatter" if share.layout.sequence_parallel else "all_reduce"
        exchanges = (Exchange(kind, "tensor", elements * size),)
    gathers = (Exchange("all_gather", "tensor", elements * size),) if share.outside > 1 else ()
    table = share.moves.tables / 2 * _vocabulary(share) * share.block.hidden_size
    return Work(
        Pass((), 3 * size * elements, 4, exchanges),
        Pass((), (2 * size + 8) * elements + table, 4, gathers),
    )


def _head(share: Share, fused: bool) -> Work:
    tokens, hidden, size = share.tokens, share.block.hidden_size, share.element_bytes
    vocabulary = _vocabulary(share)
    product = linear(share, tokens, vocabulary, hidden)
    each = float(tokens * vocabulary)
    elements = tokens * hidden / share.outside
    table = share.moves.tables / 2 * vocabulary * hidden
    loss, loss_backward = share.moves.loss or ((6, 4) if fused else (22, 14))
    ahead, back = edges(share, product, product)
    return Work(
        Pass((product[0],), share.norm.forward * size * elements + loss * each, 8, ahead[:1]),
        Pass(product[1:], share.norm.backward * size * elements + loss_backward * each + table, 8, back[-2:]),
    )


def _vocabulary(share: Share) -> int:
    """Return the rows of the embedding's table on one rank."""
    return gpt_of(share.config).padded_vocab_size // share.tp
