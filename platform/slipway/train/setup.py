"""Everything a rank holds while it trains, built in a stated order: stages, weights, DDP, optimizer, data."""

from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.enums import ModelType
from megatron.core.parallel_state import (
    get_data_parallel_rank,
    is_pipeline_first_stage,
    is_pipeline_last_stage,
)
from megatron.core.transformer.module import Float16Module

from slipway.data.ledger import DataLedger
from slipway.data.reader import Reader
from slipway.engine.megatron import fully_sharded
from slipway.engine.megatron.optimizer import build_optimizer
from slipway.engine.megatron.weights import initialize, mark_tensor_parallel
from slipway.models import network
from slipway.plan import Plan
from slipway.train.batches import open_reader, sample_positions
from slipway.train.watch.stragglers import ForwardTimes


@dataclass
class Session:
    """One rank's part of a run."""

    plan: Plan
    family: Any  # the torch side of the model's family, e.g. slipway.models.gpt.model
    device: torch.device
    transformer: Any  # Megatron-core's TransformerConfig
    chunks: list[Any]  # this rank's model chunks, in DistributedDataParallel
    optimizer: Any
    times: ForwardTimes
    validation_start: DataLedger  # each validation draws the same samples
    train_data: Reader | None = None  # None on stages that read no samples
    validation_data: Reader | None = None

    @property
    def reads_data(self) -> bool:
        """Whether this rank's stages take samples (first), labels (last), or what all stages need."""
        ends = is_pipeline_first_stage() or is_pipeline_last_stage()
        return ends or self.family.every_stage_reads(self.plan.config)

    def close(self) -> None:
        """End the reading threads."""
        for reader in (self.train_data, self.validation_data):
            if reader:
                reader.close()


def set_up(plan: Plan, device: torch.device) -> Session:
    """Build this rank's part and open its data; process groups must exist."""
    session = build_session(plan, device)
    _open_data(session)
    return session


def build_session(plan: Plan, device: torch.device) -> Session:
    """This rank's model and optimizer, without data."""
    config = plan.trained
    family = network(config)
    transformer = family.transformer_config(config)
    chunks = build_chunks(plan, family, transformer, device)
    optimizer = build_optimizer(config, chunks)
    transformer.grad_scale_func = optimizer.scale_loss
    transformer.finalize_model_grads_func = finalize_model_grads
    if config.parallelism.overlap_grad_reduce:
        no_sync = [chunk.no_sync for chunk in chunks]
        transformer.no_sync_func = no_sync if len(no_sync) > 1 else no_sync[0]
    start = DataLedger.begin(config.training.seed, config.data.weights, {})
    return Session(plan, family, device, transformer, chunks, optimizer, ForwardTimes(device), start)


def _check_parameters(plan: Plan, chunks: list[Any]) -> None:
    """The plan counts parameters without torch: here it is held against what Megatron-core has built."""
    built = sum(parameter.numel() for chunk in chunks for parameter in chunk.parameters())
    planned = plan.stages[plan.grid.coordinates(torch.distributed.get_rank()).pp].parameters
    assert built == planned, f"{built} parameters were built, the plan says {planned}"


def build_chunks(plan: Plan, family: Any, transformer: Any, device: torch.device) -> list[Any]:
    """This rank's model chunks with their initial weights, each wrapped for data parallelism."""
    config = plan.trained
    layout = config.parallelism
    virtual = layout.virtual_stages
    chunks = [family.build_stage(config, transformer, i if virtual > 1 else None) for i in range(virtual)]
    for chunk in chunks:
        chunk.model_type = ModelType.encoder_or_decoder
        mark_tensor_parallel(chunk)
        initialize(config, family, chunk.sharded_state_dict(prefix=""))
        chunk.to(device)
    _check_parameters(plan, chunks)
    bf16 = config.training.precision == "bf16"
    if bf16:
        chunks = [Float16Module(transformer, chunk) for chunk in chunks]
    options = DistributedDataParallelConfig(
        grad_reduce_in_fp32=bf16,
        overlap_grad_reduce=layout.overlap_grad_reduce,
        overlap_param_gather=layout.overlap_param_gather,
        use_distributed_optimizer=layout.use_distributed_optimizer,
    )
    if layout.data_parallel_sharding_strategy:
        return [fully_sharded.wrap(config, transformer, options, chunk, device) for chunk in chunks]
    return [
        DistributedDataParallel(transformer, options, chunk, disable_bucketing=i > 0)
        for i, chunk in enumerate(chunks)
    ]


def _open_data(session: Session) -> None:
    plan = session.plan
    config = plan.config
    training, validation = config.training, config.validation
    if not session.reads_data:
        return
    positions = sample_positions(
        training.micro_batch_size, plan.num_microbatches, get_data_parallel_rank(), plan.data_parallel_size
    )

    session.train_data = open_reader(config, "training", positions, session.device)
    if validation.steps:
        session.validation_data = open_reader(config, "validation", positions, session.device)
