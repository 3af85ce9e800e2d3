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
    """Optimizer updates: fewer than steps if batches were skipped."""
    recent_losses: list[float] = field(default_factory=list)
    """The guard's recent losses."""
    uneven: dict[str, int] = field(default_factory=dict)
    """The guard's uneven places."""
    step_samples: int = 0
    """Samples of the batches of all steps, without those that a rollback excluded."""
