"""A measured time of `slipway bench device`. Data only."""

from typing import NamedTuple


class Timed(NamedTuple):
    """One kind of work at one size: its quantities, and its seconds."""

    kind: str
    """linear, grouped, attention, attention_backward, copy, operators, small, small_product, beside, a collective."""
    seconds: float
    flop: float = 0.0
    moved_bytes: float = 0.0
    output_bytes: int = 0
    """Bytes moved for each element of a product's result."""
    calls: int = 1
    """Number of kernels, one after the other."""
    size: float = 0.0
    """Bytes of a message: see slipway.models.work.Exchange."""
    shape: tuple[int, ...] = ()
