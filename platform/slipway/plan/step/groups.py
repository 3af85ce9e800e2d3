"""Where the ranks of a group are, and how long an exchange among them takes."""

from typing import NamedTuple

from slipway.models.work import Collective, Exchange
from slipway.plan.layout import Grid
from slipway.plan.step.hardware import Hardware

ALL_TO_ALL = 0.89
"""Share of the bandwidth that rings reach which all_to_all reaches.

.597 to .674 of the wire, measured on 8 B200 (SimuMax).
"""


class Ring(NamedTuple):
    """A group of `ranks` ranks, of which `together` are behind the same inner links."""

    ranks: int
    together: int


class Rings(NamedTuple):
    """The groups that layers exchange in."""

    tensor: Ring
    context: Ring
    expert: Ring
    tensor_expert: Ring


def ring(ranks: int, stride: int, inside: int) -> Ring:
    """Return the ring of a group whose ranks are `stride` apart, if the inner links connect `inside` devices."""
    return Ring(ranks, max(1, min(ranks, inside // stride)))


def rings(grid: Grid, inside: int) -> Rings:
    """Return the rings of a grid's groups, by the order of ranks, tp-cp-ep-dp-pp (slipway.plan.layout)."""
    return Rings(
        tensor=ring(grid.tp, 1, inside),
        context=ring(grid.cp, grid.tp, inside),
        expert=ring(grid.ep, grid.tp, inside),
        tensor_expert=ring(grid.tp * grid.ep, 1, inside),
    )


def seconds(kind: Collective, size: float, ring: Ring, hardware: Hardware, copies: int = 1) -> float:
    """Return the seconds of an exchange of `size` bytes (see slipway.models.work.Exchange).

    A ring of n ranks moves (n - 1) / n of the message through each rank's links, an all_reduce twice: busbw of NVIDIA's
    nccl-tests, doc/PERFORMANCE.md. For a group over several nodes, each with k of its ranks, (n - k) / n of the message
    must reach a node, and comes in through the links of its k ranks.
    """
    n, k = ring
    inner, outer = hardware.inside, hardware.between
    inner_speed, outer_speed = inner.gb_per_s * inner.share * 1e9, outer.gb_per_s * outer.share * 1e9
    if n == 1:
        return 0.0
    if kind == "send":
        speed, link = (inner_speed, inner) if k > 1 else (outer_speed, outer)
        return link.latency_us * 1e-6 + size / speed
    times = 2 if kind == "all_reduce" else 1
    if kind == "all_to_all":
        size /= ALL_TO_ALL
    fixed = inner.latency_us + times * inner.hop_us * (k - 1)
    within = size * (n - 1) / n / inner_speed if k > 1 else 0.0
    if k == n:
        return fixed * 1e-6 + times * within
    nodes = -(-n // k)
    links, crossing = (1, _crossing(nodes, copies)) if kind == "all_to_all" else (k, (n - k) / n)
    fixed += outer.latency_us + times * outer.hop_us * (nodes - 1)
    return fixed * 1e-6 + times * max(within, size * crossing / links / outer_speed)


def _crossing(nodes: int, copies: int) -> float:
    """Return the share of what is sent out that leaves its node.

    Of an element's copies to random ranks some go to the same node; one of them crosses.
    """
    return (nodes - 1) * (1 - (1 - 1 / nodes) ** copies) / copies


def of(exchange: Exchange, rings: Rings, hardware: Hardware) -> float:
    """Return the seconds of a layer's exchange if nothing ran beside it."""
    place: Ring = getattr(rings, exchange.group)
    return seconds(exchange.kind, exchange.size, place, hardware, exchange.copies)
