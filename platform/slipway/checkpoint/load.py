"""Loads a checkpoint into any layout; slipway.checkpoint.save writes them."""

from pathlib import Path

from slipway.checkpoint.index import check_index
from slipway.checkpoint.store import CheckpointInfo
from slipway.engine.engine import Rank
from slipway.plan import Plan


def load(plan: Plan, model: Rank, path: Path, info: CheckpointInfo) -> None:
    """Fill the model, its optimizer and, in the same layout, its random generators; all ranks call it.

    info: the checkpoint's. Raises Damaged if the index of its files is not safe to read.
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
