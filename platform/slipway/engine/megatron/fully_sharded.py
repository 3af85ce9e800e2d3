"""Gradients and parameters cut over the data-parallel ranks (ZeRO-2, ZeRO-3), by Megatron-core's FSDP.

Its parameters are DTensors whose local tensors are stretches of the flattened parameters (of their fp32 copies
in bf16); the whole ones that the forward pass uses, "raw" below, exist only around it.
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
    """Return the model chunk, cut. Its unit, gathered and released as one, is a transformer layer.

    options: Megatron-core's DistributedDataParallelConfig; what FSDP needs is set in it. It has a bucket_size: else
    ZeRO-2 would hold all gradients whole, in one bucket, before it cuts them.
    """
    _unmock(megatron_fsdp)
    options.use_megatron_fsdp = True
    options.data_parallel_sharding_strategy = config.parallelism.data_parallel_sharding_strategy or "no_shard"
    # 0.19's words for grad_reduce_in_fp32; else gradients add up in bf16
    if options.grad_reduce_in_fp32 and hasattr(options, "megatron_fsdp_main_grads_dtype"):
        options.megatron_fsdp_main_grads_dtype = options.megatron_fsdp_grad_comm_dtype = torch.float32
    state = chunk.sharded_state_dict(prefix="")  # while parameters are whole
    state = {name: entry for name, entry in state.items() if not isinstance(entry, ShardedObject)}
    _refuse_buffers(config, chunk)
    with _devices(device):
        wrapped: Any = FullyShardedDataParallel(transformer, options, chunk, device=device)
    # it has made random states the same on all tensor-parallel ranks, for an initialization that is not ours
    generators.seed(config.training.seed)
    wrapped.state_of_whole_parameters = state
    return wrapped


def _devices(device: torch.device) -> AbstractContextManager[Any]:
    """Return within it FSDP makes this kind of device, where it names CUDA's."""
    if device.type != "cpu":
        return nullcontext()
    from slipway.engine.megatron.cpu_adapter import Devices

    return Devices()


def _refuse_buffers(config: RunConfig, chunk: torch.nn.Module) -> None:
    """Raise UserError where checkpoints would lose a buffer."""
    for name in persistent(chunk):
        raise UserError(
            "parallelism.data_parallel_sharding_strategy",
            f"does not go with model.family={config.model.family}, which keeps the buffer {name}: Megatron-core's "
            "FSDP stores parameters only",
            value=config.parallelism.data_parallel_sharding_strategy,
            use="null",
        )


def is_fully_sharded(chunk: Any) -> bool:
    """Return whether wrap has made this."""
    return isinstance(chunk, FullyShardedDataParallel)


def stretches(chunk: Any) -> Iterator[tuple[Any, int, int, Any]]:
    """Yield (raw parameter, start, end, distributed parameter): the elements of each that this rank holds and updates.

    start, end: of the flattened raw parameter; equal where another rank holds all of it.
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
    """Let the next forward pass gather what has been written into the stretches."""
    chunk.module.install_optimized_model_weights()
    chunk.module.synchronize_param_gather()


def _unmock(module: Any) -> None:
    """Without Transformer Engine its linear layer is a mock, of which Megatron-core 0.16 asks isinstance."""
    if not isinstance(getattr(module, "TELinear", object), type):
        module.TELinear = type("TELinear", (), {})
