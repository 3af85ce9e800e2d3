"""Seconds of a layer's passes, by part."""

from functools import lru_cache
from typing import NamedTuple

from slipway.models.work import Pass, Product, Work
from slipway.plan.step import groups
from slipway.plan.step.groups import Rings
from slipway.plan.step.hardware import Hardware

ALIGNED = 16
"""Bytes: tensor cores read rows of a multiple without detours (NVIDIA's guide to matrix products)."""
HEAD, SOFTMAX = 128, 0.35


def softmax(head: int) -> float:
    """Return the time of attention's kernel for each of its operations, relative to that at heads of 128.

    The exponentials, about a third of the time there, do not get fewer with smaller heads: FlashAttention-3 (arXiv
    2407.08608, section 4.1) is as much slower at heads of 64.
    """
    return 1 - SOFTMAX + SOFTMAX * HEAD / head


class Seconds(NamedTuple):
    """Seconds of one pass, or of several, by part."""

    products: float = 0.0
    memory_bound: float = 0.0
    tensor: float = 0.0
    context: float = 0.0
    expert: float = 0.0
    host: float = 0.0
    """Time in which the device waits for the next kernel."""

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self)

    def __add__(self, other: "Seconds") -> "Seconds":  # type: ignore[override]
        return Seconds(*(one + another for one, another in zip(self, other, strict=True)))


class Rounds(NamedTuple):
    """A layer's passes for one microbatch."""

    forward: Seconds
    backward: Seconds
    again: Seconds

    @property
    def behind(self) -> float:
        """Seconds of the backward pass, with what it computes again."""
        return self.backward.total + self.again.total


def product_seconds(product: Product, hardware: Hardware, backward: bool = False) -> float:
    """Return the seconds of a product: its fixed time, its operations and its operands' way from memory, added up.

    That they add up, and do not hide behind each other, is what measured products show (docs/planner.md): fill and
    drain of the tiles, and waves that are not full, cost most when a dimension is small.
    """
    rates, moved, kernels = hardware.rates, product.moved_bytes, product.count
    if product.kind == "attention":
        share = rates.attention_backward_share if backward else rates.attention_share
        share /= softmax(product.k)
        moved, kernels = 0.0, 1
    elif product.kind == "grouped":
        share, kernels = rates.grouped_share, 1
    else:
        share, kernels = rates.product_share, 1
    if any(row * product.element_bytes % ALIGNED for row in product.rows):
        share = min(share, rates.unaligned_share)
    return (
        kernels * rates.product_us * 1e-6
        + product.flop / (hardware.peak_tflops * share * product.pace * 1e12)
        + rates.product_bytes * moved / (hardware.memory_gb_per_s * 1e9)
    )


def pass_seconds(work: Pass, rings: Rings, hardware: Hardware, backward: bool = False) -> Seconds:
    """Return the seconds of a pass by part; exchanges count only as far as no product hides them."""
    rates = hardware.rates
    times = {product: product_seconds(product, hardware, backward) for product in work.products}
    products = sum(times[product] for product in work.products)
    moved = work.moved_bytes / (hardware.memory_gb_per_s * rates.memory_share * 1e9)
    moved += max(0, work.kernels - len(work.products)) * rates.kernel_us * 1e-6
    waits = {"tensor": 0.0, "context": 0.0, "expert": 0.0, "tensor_expert": 0.0}
    for exchange in work.exchanges:
        taken = groups.of(exchange, rings, hardware)
        beside = sum(times.get(each) or product_seconds(each, hardware) for each in exchange.beside)
        waits[exchange.group] += beside_work(taken, beside, hardware)
    busy = products + moved + sum(waits.values())
    host = max(0.0, work.kernels * rates.launch_us * 1e-6 - busy)
    expert = waits["expert"] + waits["tensor_expert"]
    return Seconds(products, moved, waits["tensor"], waits["context"], expert, host)


def beside_work(taken: float, window: float, hardware: Hardware) -> float:
    """Return the seconds lost to an exchange beside work of `window` seconds.

    That is the part that lasts longer than the work, and the time by which it slows the work down.
    """
    hidden = min(taken, window)
    return taken - hidden + hardware.rates.contention * hidden


@lru_cache(maxsize=4096)
def rounds(work: Work, rings: Rings, hardware: Hardware) -> Rounds:
    """Return the seconds of a layer's passes for one microbatch.

    Results are kept, as the layouts of a search share most of them.
    """
    return Rounds(
        pass_seconds(work.forward, rings, hardware),
        pass_seconds(work.backward, rings, hardware, backward=True),
        pass_seconds(work.again, rings, hardware),
    )
