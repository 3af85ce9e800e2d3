"""The content of a checkpoint: weights, buffers, optimizer state and generators, as tensors in model space.

Optimizer state is stored per model parameter, under the parameter's own key and shape (or as one number), for every
optimizer class and sharding. Megatron-core's formats do not continue Adam exactly after re-sharding without Transformer
Engine or apex.
"""

from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedBase, ShardedObject, ShardedTensor
from megatron.core.distributed import DistributedDataParallel
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.engine.megatron import generators
from slipway.engine.megatron.fully_sharded import is_fully_sharded
from slipway.engine.megatron.keys import FP32, of_state
from slipway.engine.megatron.shards import Shard
from slipway.engine.megatron.weights import sharded_tensors
from slipway.optimizers import algorithm
from slipway.optimizers.kind import states_of


def model_state(chunks: list[Any]) -> dict[str, Any]:
    """Return the sharded state dict of this rank's model chunks: one entry per chunk."""
    states = {}
    for index, chunk in enumerate(chunks):
        if is_fully_sharded(chunk):
            states[f"chunk{index}"] = chunk.state_of_whole_parameters
            continue
        state = unwrapped(chunk).sharded_state_dict(prefix="")
        states[f"chunk{index}"] = {k: v for k, v in state.items() if not isinstance(v, ShardedObject)}
    return states


def unwrapped(chunk: Any) -> Any:
    """Return the module whose gradients a chunk reduces; the chunk itself if it is not trained."""
    return chunk.module if isinstance(chunk, DistributedDataParallel) else chunk


def by_parameter(model: dict[str, Any]) -> dict[Any, ShardedBase]:
    """Return model_state's entries by the tensor that they hold."""
    return {value.data: value for value in nested_values(model) if isinstance(value, ShardedBase)}


def sharded(like: Any, whole: dict[str, Tensor], replica: Any = None) -> dict[str, Any]:
    """Return entries for each tensor of a parameter's optimizer state, which is shaped like the parameter, or [1].

    like: the model's entry for the parameter. The fp32 copy of an fp32 parameter is the parameter.
    """
    entries, dtype = {}, like.data.dtype
    for name, tensor in whole.items():
        same = name == FP32 and dtype == torch.float32
        key = like.key if same else of_state(name, like.key)
        entry = like if tensor.shape == like.data.shape else _number(like)
        changes: dict[str, Any] = {"key": key, "data": tensor}
        if isinstance(entry, ShardedTensor):
            changes["dtype"] = tensor.dtype
        if replica is not None:
            changes["replica_id"] = replica
        entries[name] = replace(entry, **changes)
    return entries


def _number(like: Any) -> ShardedTensor:
    """Return an entry for one number of the parameter, at its index among layers or experts that share a key."""
    part = next(iter(sharded_tensors({"": like})))  # any part of a factory: all have the same index
    axes = part.prepend_axis_num
    return replace(
        part,
        data=None,
        local_shape=(1,),
        global_shape=(*part.global_shape[:axes], 1),
        global_offset=(*part.global_offset[:axes], 0),
        axis_fragmentations=(*(part.axis_fragmentations or ())[:axes], 1),
        replica_id=like.replica_id,
    )


def names(shard: Shard, config: RunConfig, with_states: bool = True) -> tuple[str, ...]:
    """Return the names of a parameter's optimizer state tensors. with_states: including the optimizer's own."""
    states = states_of(algorithm(config), shard.matrix is not None) if with_states else []
    copy = [FP32] if shard.has_main_copy or shard.cut else []
    return (*(state.name for state in states), *copy)


def tensors(shard: Shard) -> dict[str, Tensor]:
    """Return this rank's part of these tensors, each [elements] or []; only for a shard that is not empty."""
    held = shard.states()
    return held | {FP32: shard.kept()} if shard.has_main_copy or shard.cut else held


def rng_state() -> dict[str, ShardedTensor]:
    """Return every generator's state: one row per rank."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return {
        name: ShardedTensor.from_rank_offsets(f"rng.{name}", state[None].cpu(), (0, rank, world))
        for name, state in generators.states().items()
    }


def set_rng_state(states: dict[str, Tensor]) -> None:
    """Set every generator from its row, uint8 [1, bytes]."""
    generators.set_states({name: state[0] for name, state in states.items()})
