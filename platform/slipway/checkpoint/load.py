"""Loading a checkpoint into any layout; how it is written: slipway.checkpoint.save."""

from pathlib import Path

from slipway.checkpoint.index import check_index
from slipway.checkpoint.store import CheckpointInfo
from slipway.engine.engine import Rank
from slipway.plan import Plan


def load(plan: Plan, model: Rank, path: Path, info: CheckpointInfo) -> None:
    """Fill the model, its optimizer and, in the same layout, its generators; all ranks call it. info: the checkpoint's.

    Raises Damaged where the index of the files is not one that is safe to read.
    """
    check_index(path)
    same_layout = info.world_size == plan.world_size and info.parallelism == plan.config.parallelism
    by_training = info.imported is None
    model.load(
        path,
        info.step,
        info.updates,
        with_generators=same_layout and by_training,
        with_states=by_training,
    )
