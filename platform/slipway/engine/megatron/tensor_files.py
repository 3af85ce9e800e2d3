"""The files that hold a checkpoint's tensors: Megatron-core's `torch_dist`, with our own writers.

Megatron-core's forked writers are not used: a save hangs if one of them dies.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
from megatron.core.dist_checkpointing.mapping import apply_factories
from megatron.core.dist_checkpointing.strategies import torch as torch_strategy
from megatron.core.dist_checkpointing.strategies.common import COMMON_STATE_FNAME

from slipway import system_errors
from slipway.engine.megatron import newer_index


def write(state: dict[str, Any], folder: Path, group: Any, waits: Callable[[bool], None]) -> None:
    """Write a sharded state dict; see slipway.engine.engine.Snapshot."""
    apply_factories(state)
    tensors, _, _ = torch_strategy._replace_state_dict_keys_with_sharded_keys(state, True)
    waits(False)
    dcp.save(
        torch_strategy.mcore_to_pyt_state_dict(tensors, False),
        storage_writer=_Files(folder, waits),
        planner=torch_strategy.MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
        process_group=group,
    )


def finish(folder: Path) -> None:
    """Write the other files that Megatron-core expects when it loads; a checkpoint has nothing but tensors."""
    torch.save({}, folder / COMMON_STATE_FNAME)
    save_config(CheckpointingConfig("torch_dist", 1), str(folder))


def read(wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the tensors that a sharded state dict names, in its structure."""
    newer_index.accept()
    return dist_checkpointing.load(wanted, str(folder), validate_access_integrity=False)  # type: ignore[return-value]


class _Files(dcp.FileSystemWriter):
    """A writer that reports when it waits for others, and raises the system's error, which torch's own would hide."""

    def __init__(self, folder: Path, waits: Callable[[bool], None]) -> None:
        super().__init__(folder, sync_files=True, thread_count=1)
        self.waits = waits

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            written = super().write_data(plan, planner)
            self.waits(True)
            return written
        except Exception as error:
            cause = system_errors.behind(error)
            if cause is None or cause is error:
                raise
            raise OSError(cause.errno, cause.strerror, cause.filename or str(self.path)) from error
