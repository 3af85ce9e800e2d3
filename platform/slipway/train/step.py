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
from slipway.train.stopping import Stopping, reasons


@dataclass(frozen=True)
class StepResult:
    """The same on every rank."""

    loss: float  # mean over the global batch, in the family's unit (GPT: nats per token)
    grad_norm: float  # L2 norm of the whole gradient, before clipping
    updated: bool  # False where the optimizer refused a gradient that is not finite
    stop: list[str]  # why this segment should end after this step: what any rank has seen; empty: go on


def train_step(
    session: Session, batches: list[Batch], learning_rate: float, stopping: Stopping
) -> StepResult:
    """Forward, backward, reduce, clip, update; then the loss and the reasons to stop, agreed by all ranks."""
    for chunk in session.chunks:
        chunk.zero_grad_buffer()
    session.optimizer.zero_grad()
    set_learning_rate(session.optimizer, learning_rate)
    losses = _run_schedule(session, batches, forward_only=False)
    updated, grad_norm, _ = session.optimizer.step()
    totals = torch.cat([_loss_and_count(session, losses), _tensor(session, stopping.flags())])
    torch.distributed.all_reduce(totals)
    loss_sum, count, *flags = totals.tolist()
    return StepResult(loss_sum / count, float(grad_norm or 0.0), bool(updated), reasons(flags))


def validate(session: Session, steps: int) -> float:
    """Mean loss over the first `steps` global batches of the validation split, without gradients."""
    total = _tensor(session, [0.0, 0.0])
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
    torch.distributed.all_reduce(total)
    return (total[0] / total[1]).item()


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
        return _tensor(session, [0.0, 0.0])
    return torch.stack(losses).double().sum(0)


def _tensor(session: Session, values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, device=session.device)
