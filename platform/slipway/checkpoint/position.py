"""The position of a run between two steps."""

from dataclasses import dataclass, field

from slipway.data.ledger import DataLedger


@dataclass
class Position:
    """The state besides tensors that a checkpoint holds, the same on every rank."""

    data: DataLedger
    """Samples consumed of each source."""
    step: int = 0
    updates: int = 0
    """Optimizer updates: fewer than steps where batches were left out."""
    recent_losses: list[float] = field(default_factory=list)
    """For the guard."""
    uneven: dict[str, int] = field(default_factory=dict)
    """For the guard, likewise."""
