"""Gradients and parameters sharded over the data-parallel ranks (ZeRO-2, ZeRO-3), by Megatron-core's FSDP.

Its parameters are DTensors whose local tensors are ranges of the flattened parameters (of their fp32 copies in bf16);
the whole parameters that the forward pass uses, "raw" below, exist only during it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import megatron.core.distributed.fsdp.mcore_fsdp_adapter as megatron_fsdp
import torch
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.distributed import FullyShardedDataParallel
from megatron.core.transformer.transformer_config import TransformerConfig

from slipway.config.schema import RunConfig
from slipway.engine.megatron import generators
from slipway.engine.megatron.buffers import persistent
from slipway.errors import UserError


def wrap(
    config: RunConfig,
    transformer: TransformerConfig,
    options: Any,
    chunk: Any,
    device: torch.device,
) -> FullyShardedDataParallel:
    """Return the model chunk, sharded. Its unit, gathered and released as one, is a transformer layer.

    options: Megatron-core's DistributedDataParallelConfig; this sets what FSDP needs in it. It has a bucket_size:
    without one, ZeRO-2 would hold all whole gradients, in one bucket, before it shards them.
    """
    _unmock(megatron_fsdp)
    options.use_megatron_fsdp = True
    options.data_parallel_sharding_strategy = config.parallelism.data_parallel_sharding_strategy or "no_shard"
    # 0.19's names for grad_reduce_in_fp32; without them gradients add up in bf16
    if options.grad_reduce_in_fp32 and hasattr(options, "megatron_fsdp_main_grads_dtype"):
        options.megatron_fsdp_main_grads_dtype = options.megatron_fsdp_grad_comm_dtype = torch.float32
    state = chunk.sharded_state_dict(prefix="")  # while parameters are whole
    state = {name: entry for name, entry in state.items() if not isinstance(entry, ShardedObject)}
    _refuse_buffers(config, chunk)
    with _devices(device):
        wrapped: Any = FullyShardedDataParallel(transformer, options, chunk, device=device)
    # FSDP has made random states equal on all tensor-parallel ranks, for an initialization that we do not use
    generators.seed(config.training.seed)
    wrapped.state_of_whole_parameters = state
    return wrapped


def _devices(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which FSDP's CUDA devices become this kind of device."""
    if device.type != "cpu":
        return nullcontext()
    from slipway.engine.megatron.cpu_adapter import Devices

    return Devices()


def _refuse_buffers(config: RunConfig, chunk: torch.nn.Module) -> None:
    """Raise UserError if checkpoints would lose a buffer."""
    for name in persistent(chunk):
        raise UserError(
            "parallelism.data_parallel_sharding_strategy",
            f"does not go with model.family={config.model.family}, which keeps the buffer {name}: Megatron-core's "
            "FSDP stores parameters only",
            value=config.parallelism.data_parallel_sharding_strategy,
            use="null",
        )


def is_fully_sharded(chunk: Any) -> bool:
    """Return whether `wrap` made this chunk."""
    return isinstance(chunk, FullyShardedDataParallel)


def stretches(chunk: Any) -> Iterator[tuple[Any, int, int, Any]]:
    """Yield (raw parameter, start, end, distributed parameter): the elements of each that this rank holds and updates.

    start, end: of the flattened raw parameter; equal if another rank holds all of it.
    """
    buffer = chunk.param_and_grad_buffer
    for _, distributed in buffer.optimizer_named_parameters:
        raw = distributed.orig_param
        group = buffer.parameter_groups[buffer.param_to_param_group[raw]]
        start, end = group.main_weight_buffer.locate_item_in_global_item(
            group.main_weight_buffer.param_idx[raw]
        )
        yield raw, start, end, distributed


def take_over(chunk: Any) -> None:
    """Copy what has been written to the shards, so that the next forward pass gathers it."""
    chunk.module.install_optimized_model_weights()
    chunk.module.synchronize_param_gather()


def _unmock(module: Any) -> None:
    """Replace TELinear by a class: without Transformer Engine it is a mock, with which 0.16 calls isinstance."""
    if not isinstance(getattr(module, "TELinear", object), type):
        module.TELinear = type("TELinear", (), {})
