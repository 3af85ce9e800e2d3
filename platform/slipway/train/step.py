"""One optimizer step, one validation."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.parallel_state import get_tensor_model_parallel_rank
from megatron.core.pipeline_parallel import get_forward_backward_func

from slipway.train.batches import Batch, per_stage
from slipway.train.optimizer import set_learning_rate
from slipway.train.setup import Session


@dataclass(frozen=True)
class StepResult:
    """The same on every rank."""

    loss: float  # mean over the global batch, in the family's unit (GPT: nats per token)
    grad_norm: float  # L2 norm of the whole gradient, before clipping
    updated: bool  # False where the optimizer refused a gradient that is not finite


def train_step(session: Session, batches: list[Batch], learning_rate: float) -> StepResult:
    """Forward, backward, reduce, clip, update."""
    for chunk in session.chunks:
        chunk.zero_grad_buffer()
    session.optimizer.zero_grad()
    set_learning_rate(session.optimizer, learning_rate)
    losses = _run_schedule(session, batches, forward_only=False)
    updated, grad_norm, _ = session.optimizer.step()
    return StepResult(_mean_loss(session, losses), float(grad_norm or 0.0), bool(updated))


def validate(session: Session, steps: int) -> float:
    """Mean loss over the first `steps` global batches of the validation split, without gradients."""
    total = torch.zeros(2, dtype=torch.float64, device=session.device)
    batch_size = session.plan.config.training.global_batch_size
    for chunk in session.chunks:
        chunk.eval()
    with torch.no_grad(), whole_parameters(session):
        for step in range(steps):
            following = (step + 1) * batch_size if step + 1 < steps else None
            batches = read(session, session.validation_data, step * batch_size, following)
            total += _loss_and_count(session, _run_schedule(session, batches, forward_only=True))
    for chunk in session.chunks:
        chunk.train()
    return _world_mean(total)


def read(session: Session, reader: Any, consumed: int, following: int | None) -> list[Batch]:
    """A step's microbatches; empty ones on stages that read no samples."""
    if reader is None:
        return [{} for _ in range(session.plan.num_microbatches)]
    return reader.read(consumed, following)


@contextmanager
def whole_parameters(session: Session) -> Any:
    """Every rank holds current parameters inside, also where their gathering overlaps the forward pass."""
    overlapping = session.plan.config.parallelism.overlap_param_gather
    if overlapping:
        for chunk in session.chunks:
            chunk.disable_forward_pre_hook()
    yield
    if overlapping:
        for chunk in session.chunks:
            chunk.enable_forward_pre_hook()


def _run_schedule(session: Session, batches: list[Batch], forward_only: bool) -> list[torch.Tensor]:
    training = session.plan.config.training
    chunks = session.chunks
    iterators = per_stage(batches, len(chunks))
    return get_forward_backward_func()(
        forward_step_func=session.family.forward_step,
        data_iterator=iterators if len(chunks) > 1 else iterators[0],
        model=chunks if len(chunks) > 1 else chunks[0],
        num_microbatches=session.plan.num_microbatches,
        seq_length=training.sequence_length,
        micro_batch_size=training.micro_batch_size,
        forward_only=forward_only,
    )


def _loss_and_count(session: Session, losses: list[torch.Tensor]) -> torch.Tensor:
    """[sum, count] of this rank's microbatches; zero where another rank reports the same samples."""
    counted = bool(losses) and get_tensor_model_parallel_rank() == 0
    if not counted:
        return torch.zeros(2, dtype=torch.float64, device=session.device)
    return torch.stack(losses).double().sum(0)


def _world_mean(total: torch.Tensor) -> float:
    torch.distributed.all_reduce(total)
    return (total[0] / total[1]).item()


def _mean_loss(session: Session, losses: list[torch.Tensor]) -> float:
    return _world_mean(_loss_and_count(session, losses))
