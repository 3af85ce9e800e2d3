"""Loading a checkpoint into any layout. What is in one: checkpoint_content; how it is written: checkpoint_save."""

from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from torch import Tensor

from slipway.checkpoint import content, store
from slipway.checkpoint.index import check_index
from slipway.engine.megatron import generators
from slipway.engine.megatron.fully_sharded import is_fully_sharded, take_over
from slipway.engine.megatron.optimizer import shards
from slipway.plan import Plan


@torch.no_grad()
def load(plan: Plan, chunks: list[Any], optimizer: Any, path: Path) -> store.CheckpointInfo:
    """Fill model, optimizer and, in the same layout, RNG from the checkpoint; all ranks call it."""
    info = store.read_info(path)
    check_index(path)
    model = content.model_state(chunks)
    by_parameter = content.by_parameter(model)
    held = list(shards(optimizer))
    whole_chunks = {f"chunk{i}": chunk for i, chunk in enumerate(chunks) if not is_fully_sharded(chunk)}
    wanted: dict[str, Any] = {"model": {name: model[name] for name in whole_chunks}, "optimizer": {}}
    for index, shard in enumerate(held):
        if shard.end == shard.start:
            continue
        names = content.names(shard)
        whole = {name: torch.empty_like(shard.parameter, dtype=torch.float32) for name in names}
        wanted["optimizer"][str(index)] = content.sharded(by_parameter[shard.parameter], whole)
    same_layout = info.world_size == plan.world_size and info.parallelism == plan.config.parallelism
    if same_layout:
        wanted["rng"] = content.rng_state()
    loaded: Any = dist_checkpointing.load(wanted, str(path), validate_access_integrity=False)

    for name, chunk in whole_chunks.items():
        _fill(chunk, loaded["model"][name])
    for index, shard in enumerate(held):
        if shard.end == shard.start:
            continue
        found = loaded["optimizer"][str(index)]
        for name, target in content.tensors(shard).items():
            target.view(-1).copy_(found[name].reshape(-1)[shard.start : shard.end])
        shard.set_step(info.updates)
    for chunk in chunks:
        if is_fully_sharded(chunk):
            take_over(chunk)
    if same_layout:
        content.set_rng_state(loaded["rng"])
    else:  # else the run would draw once more what it drew in its first steps
        generators.seed(plan.config.training.seed, info.step)
    return info


def _fill(chunk: Any, loaded: dict[str, Tensor]) -> None:
    for name, tensor in chunk.module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name in loaded and tensor is not loaded[name]:
            tensor.data.copy_(loaded[name])
