"""Small checkpoints that the store takes for real ones: made by its own commit, without torch."""

import pickle
from pathlib import Path

from slipway.config.compose import compose
from slipway.data.ledger import DataLedger
from slipway.train import checkpoint_store as store


def make_checkpoint(run_dir: Path, step: int, shards: int = 2, size: int = 300) -> Path:
    """Commit a checkpoint of the demo model with `shards` data files of `size` bytes."""
    config = compose(["model=demo"])
    temporary = store.begin(run_dir, step)
    (temporary / ".metadata").write_bytes(pickle.dumps({"step": step}))
    for rank in range(shards):
        content = bytes((step + 7 * rank + 13 * at) % 256 for at in range(size))
        (temporary / f"__{rank}_0.distcp").write_bytes(content)
    info = store.CheckpointInfo(
        step=step,
        updates=step,
        data=DataLedger.begin(0, {"a": 1}, {}).advance(step * config.training.global_batch_size),
        world_size=1,
        parallelism=config.parallelism,
        precision=config.training.precision,
        model=config.model.model_dump(mode="json"),
        versions={"torch": "0"},
    )
    return store.commit(temporary, info)
