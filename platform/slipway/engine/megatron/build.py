"""This rank's model chunks: built by the family, filled, and wrapped for data parallelism."""

from contextlib import nullcontext
from typing import Any

import torch
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.enums import ModelType
from megatron.core.transformer.module import Float16Module, MegatronModule
from megatron.core.transformer.moe.router import Router

from slipway.engine.megatron import fully_sharded, matrices
from slipway.engine.megatron.plain_stage import PlainStage
from slipway.engine.megatron.settings import plain_transformer, settings
from slipway.engine.megatron.shards import matrix_of
from slipway.engine.megatron.weights import initialize, mark_tensor_parallel
from slipway.models import network_of
from slipway.models.network import Stage
from slipway.optimizers import algorithm
from slipway.optimizers.kind import knows_matrices
from slipway.plan import Plan, switches
from slipway.plan.memory import Share
from slipway.plan.moments import matrices_of


def stages_here(plan: Plan) -> list[Stage]:
    """Return the places of this rank's model chunks in the pipeline."""
    layout = plan.config.parallelism
    count, chunks = layout.pipeline_model_parallel_size, layout.virtual_stages
    index = plan.grid.coordinates(torch.distributed.get_rank()).pp
    return [Stage(index, count, chunk, chunks) for chunk in range(chunks)]


def build_chunks(plan: Plan, device: torch.device, initial: bool = True) -> list[Any]:
    """Return this rank's model chunks on its device, with initial weights and buffers, in the training precision.

    initial: false leaves arbitrary weights.
    """
    config = plan.trained
    family = network_of(config)
    chunks: list[Any] = []
    for stage in stages_here(plan):
        first, layers = plan.stages[stage.index].spans[stage.chunk]
        # built, then filled, on its own device: a GPU's model is never on the host
        with nullcontext() if device.type == "cpu" else device:
            built = family.build(config, range(first, first + layers), stage, settings(config))
        own = isinstance(built, MegatronModule)
        chunk: Any = (
            built if own else PlainStage(plain_transformer(config, family.boundary(config)[1]), built)
        )
        chunk.model_type = ModelType.encoder_or_decoder
        chunk.to(device)  # for tensors that a family has made elsewhere
        mark_tensor_parallel(chunk)
        entries = chunk.sharded_state_dict(prefix="")
        matrices.mark(config, family, entries)
        if initial:
            initialize(config, family, entries)
        chunks.append(chunk)
    _check_parameters(plan, chunks)
    if config.training.precision == "bf16":
        return [_in_bf16(chunk) for chunk in chunks]
    return chunks


def _in_bf16(chunk: Any) -> Float16Module:
    """Return the chunk in bf16, except its routers' counters: above 256, bf16 cannot count single tokens.

    Megatron-core keeps the routers' biases in fp32, but not the loads that change them.
    """
    loads = [
        (module, name, buffer.clone())
        for module in chunk.modules()
        if isinstance(module, Router)
        for name, buffer in module.named_buffers(recurse=False)
    ]
    wrapped = Float16Module(chunk.config, chunk)
    for module, name, buffer in loads:
        getattr(module, name).data = buffer
    return wrapped


def _check_parameters(plan: Plan, chunks: list[Any]) -> None:
    """Check that as many parameters were built as the plan, without torch, has counted."""
    built = sum(parameter.numel() for chunk in chunks for parameter in chunk.parameters())
    stage = plan.grid.coordinates(torch.distributed.get_rank()).pp
    planned = plan.stages[stage].parameters
    assert built == planned, f"{built} parameters were built, the plan says {planned}"
    if knows_matrices(algorithm(plan.config)):
        of_stage = Share.of(plan.config).of_stage(plan.grid, stage)
        planned = matrices_of(kind for kinds in of_stage for kind in kinds).total
        built = sum(
            one.numel() for chunk in chunks for one in chunk.parameters() if matrix_of(one) is not None
        )
        assert built == planned, f"{built} of them in hidden matrices, the plan says {planned}"


def wrap_chunks(plan: Plan, chunks: list[Any], device: torch.device) -> list[Any]:
    """Return the chunks wrapped in the modules that reduce their gradients over the replicas."""
    config = plan.trained
    layout, chosen = config.parallelism, switches.values(config)
    options = DistributedDataParallelConfig(
        grad_reduce_in_fp32=config.training.precision == "bf16",
        overlap_grad_reduce=layout.overlap_grad_reduce,
        overlap_param_gather=layout.overlap_param_gather,
        use_distributed_optimizer=layout.use_distributed_optimizer,
        bucket_size=chosen.get("bucket_size"),
        pad_buckets_for_high_nccl_busbw=chosen.get("pad_buckets_for_high_nccl_busbw", False),
    )
    if layout.data_parallel_sharding_strategy:
        return [fully_sharded.wrap(config, chunk.config, options, chunk, device) for chunk in chunks]
    return [
        DistributedDataParallel(chunk.config, options, chunk, disable_bucketing=i > 0)
        for i, chunk in enumerate(chunks)
    ]


def tell_schedule(plan: Plan, chunks: list[Any], optimizer: Any) -> None:
    """Set the functions that Megatron-core's schedule calls; it reads them from the chunks' configurations."""
    no_sync = [chunk.no_sync for chunk in chunks]
    for chunk in chunks:
        chunk.config.grad_scale_func = optimizer.scale_loss
        chunk.config.finalize_model_grads_func = finalize_model_grads
        if plan.config.parallelism.overlap_grad_reduce:
            chunk.config.no_sync_func = no_sync if len(no_sync) > 1 else no_sync[0]
