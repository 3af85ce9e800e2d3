"""The beginning of a run's segment: read once, by the rank that leads, and sent to all. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path

from slipway.checkpoint.store import CheckpointInfo
from slipway.data.ledger import DataLedger
from slipway.train.stopping import Pace


@dataclass(frozen=True)
class Start:
    """The checkpoint to continue from, if any, and what the run is known by."""

    data: DataLedger
    """The position in the data, with the present blend."""
    checkpoint: Path | None = None
    """The newest good one, verified; None: the run begins."""
    info: CheckpointInfo | None = None
    """The checkpoint's description of itself."""
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Newer checkpoints that are damaged, and what is wrong with each."""
    pace: Pace = Pace()
    """The latest measurements of earlier segments."""
