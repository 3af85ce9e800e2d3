"""Distributed checkpoints that fit every layout: weights, optimizer state and RNG as tensors in model space.

Optimizer state is stored per model parameter, under the parameter's own key and shape, whichever optimizer
class and sharding holds it (Megatron-core's formats do not continue Adam exactly after re-sharding without
Transformer Engine or apex). Nothing is pickled but torch's own index of the files.
"""

import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from megatron.core import dist_checkpointing, parallel_state, tensor_parallel
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedBase, ShardedObject, ShardedTensor
from megatron.core.dist_checkpointing.strategies import torch as torch_strategy
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from slipway.plan import Plan
from slipway.train import checkpoint_store as store
from slipway.train.checkpoint_index import check_index
from slipway.train.optimizer import MOMENTS, Shard, shards


class SaveError(RuntimeError):
    """A checkpoint could not be written."""


class _Files(dcp.FileSystemWriter):
    """Lets the system's error through: torch's own, which hides it, is all that would reach the other ranks."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except Exception as error:
            cause = store.system_error(error)
            if cause is None or cause is error:
                raise
            raise OSError(cause.errno, cause.strerror, cause.filename or str(self.path)) from error


class _Writer(torch_strategy.TorchDistSaveShardedStrategy):
    """Megatron-core's format written by the ranks themselves: its forked writers hang a save when one dies."""

    def save(self, sharded_state_dict: dict[str, Any], checkpoint_dir: Path | str) -> None:
        # Megatron-core 0.19 would pickle what is not a tensor, which is nothing, into the shards; the file that
        # it and 0.16 know for this is loaded with weights_only
        common = sharded_state_dict.pop("common_state", None)
        if common is not None and torch.distributed.get_rank() == 0:
            torch.save({}, Path(checkpoint_dir) / "common.pt")
        state, _, _ = torch_strategy._replace_state_dict_keys_with_sharded_keys(sharded_state_dict, True)
        dcp.save(
            torch_strategy.mcore_to_pyt_state_dict(state, False),
            storage_writer=_Files(checkpoint_dir, sync_files=True, thread_count=1),
            planner=torch_strategy.MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
        )


def model_state(chunks: list[Any]) -> dict[str, Any]:
    """The sharded state dict of this rank's model chunks: one entry per chunk."""
    states = {}
    for index, chunk in enumerate(chunks):
        state = chunk.module.sharded_state_dict(prefix="")
        states[f"chunk{index}"] = {k: v for k, v in state.items() if not isinstance(v, ShardedObject)}
    return states


def save(plan: Plan, chunks: list[Any], optimizer: Any, step: int, consumed_samples: int) -> Path | None:
    """Write a checkpoint; all ranks call it. Returns its path on rank 0, after the commit.

    Raises SaveError where that failed, for want of space for example: a fault. Earlier checkpoints are as before.
    """
    try:
        path = _save(plan, chunks, optimizer, step, consumed_samples)
        if path is not None:
            store.retain(path, plan.config.checkpoint)
        return path
    except (Exception, CheckpointException) as error:
        cause = store.system_error(error)
        reason = cause.strerror if cause else f"{type(error).__name__}: {error}".splitlines()[0]
        where = cause and cause.filename or store.folder(plan.config.run.dir)
        text = f"step {step}: the checkpoint cannot be written: {where}: {reason}"
        if torch.distributed.get_rank() == 0:  # on top of every traceback
            print(f"slipway: {text}; earlier checkpoints are as they were", file=sys.stderr, flush=True)
        raise SaveError(text) from error


def _save(plan: Plan, chunks: list[Any], optimizer: Any, step: int, consumed_samples: int) -> Path | None:
    rank = torch.distributed.get_rank()
    run_dir = plan.config.run.dir
    temporary = [store.begin(run_dir, step) if rank == 0 else None]
    torch.distributed.broadcast_object_list(temporary, src=0)
    model = model_state(chunks)
    state = {"model": model, "optimizer": _gathered_optimizer_state(model, optimizer), "rng": _rng_state()}
    dist_checkpointing.save(state, str(temporary[0]), sharded_strategy=_Writer("torch_dist", 1))
    torch.distributed.barrier()
    if rank != 0:
        return None
    config = plan.config
    assert temporary[0] is not None
    return store.commit(
        temporary[0],
        store.CheckpointInfo(
            step=step,
            consumed_samples=consumed_samples,
            world_size=plan.world_size,
            parallelism=config.parallelism,
            precision=config.training.precision,
            model=config.model.model_dump(mode="json"),
            versions={name: version(name) for name in ("torch", "megatron-core")},
        ),
    )


@torch.no_grad()
def load(plan: Plan, chunks: list[Any], optimizer: Any, path: Path) -> store.CheckpointInfo:
    """Fill model, optimizer and, in the same layout, RNG from the checkpoint; all ranks call it."""
    info = store.read_info(path)
    check_index(path)
    model = model_state(chunks)
    by_parameter = _by_parameter(model)
    held = list(shards(optimizer))
    wanted: dict[str, Any] = {"model": model, "optimizer": {}}
    for index, shard in enumerate(held):
        if shard.end == shard.start:
            continue
        whole = {name: torch.empty_like(shard.parameter, dtype=torch.float32) for name in _names(shard)}
        wanted["optimizer"][str(index)] = _sharded(by_parameter[shard.parameter], whole)
    same_layout = info.world_size == plan.world_size and info.parallelism == plan.config.parallelism
    if same_layout:
        wanted["rng"] = _rng_state()
    loaded: Any = dist_checkpointing.load(wanted, str(path), validate_access_integrity=False)

    for index, chunk in enumerate(chunks):
        _fill(chunk, loaded["model"][f"chunk{index}"])
    for index, shard in enumerate(held):
        if shard.end == shard.start:
            continue
        tensors = loaded["optimizer"][str(index)]
        for name, target in _tensors(shard).items():
            target.view(-1).copy_(tensors[name].reshape(-1)[shard.start : shard.end])
        shard.set_step(info.step)
    if same_layout:
        _set_rng_state(loaded["rng"])
    return info


def _names(shard: Shard) -> tuple[str, ...]:
    return (*MOMENTS, "fp32_parameter") if shard.has_main_copy else MOMENTS


def _tensors(shard: Shard) -> dict[str, Tensor]:
    tensors = shard.moments()
    return tensors | {"fp32_parameter": shard.main.detach()} if shard.has_main_copy else tensors


def _by_parameter(model: dict[str, Any]) -> dict[Any, ShardedBase]:
    return {value.data: value for value in nested_values(model) if isinstance(value, ShardedBase)}


def _sharded(like: Any, whole: dict[str, Tensor], replica: Any = None) -> dict[str, Any]:
    """`like`, the model's entry for a parameter, for each tensor of its optimizer state (parameter's shape)."""
    entries = {}
    for name, tensor in whole.items():
        changes: dict[str, Any] = {"key": f"optimizer.{name}.{like.key}", "data": tensor}
        if isinstance(like, ShardedTensor):
            changes["dtype"] = tensor.dtype
        if replica is not None:
            changes["replica_id"] = replica
        entries[name] = replace(like, **changes)
    return entries


@torch.no_grad()
def _gathered_optimizer_state(model: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """This rank's share of the optimizer state as whole (model-parallel) tensors.

    Under the distributed optimizer a parameter's state is cut anywhere over the data-parallel ranks. The rank
    that holds most of it receives the rest, so that nobody holds more than about its own share.
    """
    by_parameter = _by_parameter(model)
    state: dict[str, Any] = {}
    held = list(shards(optimizer))
    plans = _who_holds(held)
    for index, shard in enumerate(held):
        like: Any = by_parameter[shard.parameter]
        tensors = _tensors(shard) if shard.end > shard.start else {}
        if shard.replicated:
            state[str(index)] = _sharded(like, {n: t.view(shard.parameter.shape) for n, t in tensors.items()})
            continue
        group = _data_parallel_group(shard)
        owner, pieces = plans[index]
        whole = {}
        if group.rank() == owner:
            whole = {name: torch.empty_like(shard.parameter, dtype=torch.float32) for name in _names(shard)}
        for name in _names(shard):
            for source, (start, end) in enumerate(pieces):
                if end == start:
                    continue
                if group.rank() == owner:
                    target = whole[name].view(-1)[start:end]
                    if source == owner:
                        target.copy_(tensors[name].view(-1))
                    else:
                        torch.distributed.recv(target, group=group, group_src=source)
                elif group.rank() == source:
                    torch.distributed.send(tensors[name].contiguous().view(-1), group=group, group_dst=owner)
        if whole:
            state[str(index)] = _sharded(like, whole, replica=(*like.replica_id[:-1], 0))
    return state


def _who_holds(held: list[Shard]) -> list[tuple[int, list[tuple[int, int]]]]:
    """For each shard: the data-parallel rank that holds most of the parameter, and every rank's range."""
    plans: list[tuple[int, list[tuple[int, int]]]] = [(0, [])] * len(held)
    for expert in (False, True):
        indices = [i for i, s in enumerate(held) if not s.replicated and _is_expert(s) is expert]
        if not indices:
            continue
        group = _data_parallel_group(held[indices[0]])
        ranges: list[Any] = [None] * group.size()
        torch.distributed.all_gather_object(
            ranges, [(held[i].start, held[i].end) for i in indices], group=group
        )
        for position, index in enumerate(indices):
            pieces = [of_rank[position] for of_rank in ranges]
            owner = max(range(len(pieces)), key=lambda r: pieces[r][1] - pieces[r][0])
            plans[index] = (owner, pieces)
    return plans


def _is_expert(shard: Shard) -> bool:
    return not getattr(shard.parameter, "allreduce", True)


def _data_parallel_group(shard: Shard) -> Any:
    if _is_expert(shard):
        return parallel_state.get_expert_data_parallel_group()
    return parallel_state.get_data_parallel_group(with_context_parallel=True)


def _fill(chunk: Any, loaded: dict[str, Tensor]) -> None:
    for name, tensor in chunk.module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name in loaded and tensor is not loaded[name]:
            tensor.data.copy_(loaded[name])


def _rng_state() -> dict[str, ShardedTensor]:
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    cuda = torch.cuda.is_available()
    states = {"default": torch.cuda.get_rng_state() if cuda else torch.get_rng_state()}
    tracker: Any = tensor_parallel.get_cuda_rng_tracker()
    states |= tracker.get_states()
    return {
        name: ShardedTensor.from_rank_offsets(f"rng.{name}", state[None].cpu(), (0, rank, world))
        for name, state in states.items()
    }


def _set_rng_state(states: dict[str, Tensor]) -> None:
    states = {name: state[0] for name, state in states.items()}
    default = states.pop("default")
    torch.cuda.set_rng_state(default) if torch.cuda.is_available() else torch.set_rng_state(default)
    tracker: Any = tensor_parallel.get_cuda_rng_tracker()
    tracker.set_states(states)
