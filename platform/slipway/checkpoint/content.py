"""What is in a checkpoint: weights, optimizer state and RNG, as tensors in model space.

Optimizer state is stored per model parameter, under the parameter's own key and shape, whichever optimizer
class and sharding holds it (Megatron-core's formats do not continue Adam exactly after re-sharding without
Transformer Engine or apex).
"""

from dataclasses import replace
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedBase, ShardedObject, ShardedTensor
from torch import Tensor

from slipway.engine.megatron import generators
from slipway.engine.megatron.fully_sharded import is_fully_sharded
from slipway.engine.megatron.optimizer import MOMENTS, Shard

FP32 = "fp32_parameter"


def model_state(chunks: list[Any]) -> dict[str, Any]:
    """The sharded state dict of this rank's model chunks: one entry per chunk."""
    states = {}
    for index, chunk in enumerate(chunks):
        if is_fully_sharded(chunk):
            states[f"chunk{index}"] = chunk.state_of_whole_parameters
            continue
        state = chunk.module.sharded_state_dict(prefix="")
        states[f"chunk{index}"] = {k: v for k, v in state.items() if not isinstance(v, ShardedObject)}
    return states


def by_parameter(model: dict[str, Any]) -> dict[Any, ShardedBase]:
    """model_state's entries by the tensor they hold."""
    return {value.data: value for value in nested_values(model) if isinstance(value, ShardedBase)}


def sharded(like: Any, whole: dict[str, Tensor], replica: Any = None) -> dict[str, Any]:
    """`like`, the model's entry for a parameter, for each tensor of its optimizer state (parameter's shape).

    The fp32 copy of an fp32 parameter is the parameter.
    """
    entries, dtype = {}, like.data.dtype
    for name, tensor in whole.items():
        same = name == FP32 and dtype == torch.float32
        changes: dict[str, Any] = {
            "key": like.key if same else f"optimizer.{name}.{like.key}",
            "data": tensor,
        }
        if isinstance(like, ShardedTensor):
            changes["dtype"] = tensor.dtype
        if replica is not None:
            changes["replica_id"] = replica
        entries[name] = replace(like, **changes)
    return entries


def names(shard: Shard) -> tuple[str, ...]:
    """Of the tensors that a parameter's optimizer state consists of."""
    return (*MOMENTS, FP32) if shard.has_main_copy or shard.cut else MOMENTS


def tensors(shard: Shard) -> dict[str, Tensor]:
    """This rank's part of them; for a shard that is not empty."""
    held = shard.moments()
    return held | {FP32: shard.kept()} if FP32 in names(shard) else held


def is_expert(shard: Shard) -> bool:
    """Whether the parameter belongs to an expert, which is replicated less often than the rest."""
    return not getattr(shard.parameter, "allreduce", True)


def data_parallel_group(shard: Shard) -> Any:
    """The ranks that share the parameter's optimizer state."""
    if is_expert(shard):
        return parallel_state.get_expert_data_parallel_group()
    return parallel_state.get_data_parallel_group(with_context_parallel=True)


def rng_state() -> dict[str, ShardedTensor]:
    """Every generator's state: one row per rank."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return {
        name: ShardedTensor.from_rank_offsets(f"rng.{name}", state[None].cpu(), (0, rank, world))
        for name, state in generators.states().items()
    }


def set_rng_state(states: dict[str, Tensor]) -> None:
    """Set every generator from its row."""
    generators.set_states({name: state[0] for name, state in states.items()})
