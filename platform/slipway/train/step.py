"""What one step computes, one update, one validation."""

from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import torch
from megatron.core.parallel_state import get_tensor_model_parallel_rank
from megatron.core.pipeline_parallel import get_forward_backward_func

from slipway.data.collate import Batch
from slipway.data.ledger import DataLedger
from slipway.engine.megatron import generators
from slipway.engine.megatron.optimizer import prepare_gradients, update
from slipway.train.batches import per_stage
from slipway.train.setup import Session
from slipway.train.stopping import Stopping, reasons
from slipway.train.watch.hangs import Watch


@dataclass(frozen=True)
class Outcome:
    """What a step has computed, before any update; the same on every rank."""

    loss: float  # mean over the global batch, in the family's unit (GPT: nats per token)
    grad_norm: float  # L2 norm of the whole gradient, before clipping
    stop: list[str]  # why this segment should end after this step: what any rank has seen; empty: go on
    not_finite: list[int]  # ranks that computed a loss that is not finite


def compute(session: Session, batches: list[Batch], stopping: Stopping) -> Outcome:
    """Forward, backward, reduce; then the loss and the reasons to stop, agreed by all ranks."""
    for chunk in session.chunks:
        chunk.zero_grad_buffer()
    session.optimizer.zero_grad()
    losses = _run_schedule(session, batches, forward_only=False)
    grad_norm = prepare_gradients(session.optimizer)
    own = _loss_and_count(session, losses)
    totals = torch.cat([own, _tensor(session, [float(not isfinite(grad_norm)), *stopping.flags()])])
    torch.distributed.all_reduce(totals)
    loss_sum, count, bad_norms, *flags = totals.tolist()
    loss = loss_sum / count
    if bad_norms:  # on one rank is on all
        grad_norm = nan
    where = _not_finite_on(losses) if bad_norms or not isfinite(loss) else []
    return Outcome(loss, grad_norm, reasons(flags), where)


def update_weights(session: Session, learning_rate: float, grad_norm: float) -> None:
    """Clip and apply the gradients that compute has left."""
    update(session.optimizer, session.plan.config.optimizer, learning_rate, grad_norm)


def validate(session: Session, steps: int, watch: Watch, step: int) -> float:
    """Mean loss over the first `steps` global batches of the validation split, without gradients.

    Training draws the same random numbers after it as without it.

    step: the training step that the watch is told; each batch counts as progress.
    """
    config = session.plan.config
    total = _tensor(session, [0.0, 0.0])
    data = session.validation_start
    for chunk in session.chunks:
        chunk.eval()
    with torch.no_grad(), whole_parameters(session), generators.undisturbed():
        for number in range(steps):
            watch.at(step, f"validation batch {number + 1} of {steps}")
            following = data.advance(config.training.global_batch_size)
            last = number + 1 == steps
            batches = read(session, session.validation_data, data, None if last else following)
            data = following
            total += _loss_and_count(session, _run_schedule(session, batches, forward_only=True))
    for chunk in session.chunks:
        chunk.train()
    torch.distributed.all_reduce(total)
    return (total[0] / total[1]).item()


def read(session: Session, reader: Any, data: DataLedger, following: DataLedger | None) -> list[Batch]:
    """A step's microbatches; empty ones on stages that read no samples."""
    if reader is None:
        return [{} for _ in range(session.plan.num_microbatches)]
    return reader.read(data, following)


@contextmanager
def whole_parameters(session: Session) -> Any:
    """Every rank holds current parameters inside, also where their gathering overlaps the forward pass."""
    layout = session.plan.config.parallelism
    overlapping = (
        layout.overlap_param_gather and not layout.data_parallel_sharding_strategy
    )  # FSDP sees to itself
    if overlapping:
        for chunk in session.chunks:
            chunk.disable_forward_pre_hook()
    yield
    if overlapping:
        for chunk in session.chunks:
            chunk.enable_forward_pre_hook()


def _run_schedule(session: Session, batches: list[Batch], forward_only: bool) -> list[torch.Tensor]:
    training = session.plan.config.training
    length, _ = session.family.boundary(session.plan.config)
    chunks = session.chunks
    iterators = per_stage(batches, len(chunks))
    forward_step = session.family.forward_step
    return get_forward_backward_func()(
        forward_step_func=forward_step if forward_only else session.times.timed(forward_step),
        data_iterator=iterators if len(chunks) > 1 else iterators[0],
        model=chunks if len(chunks) > 1 else chunks[0],
        num_microbatches=session.plan.num_microbatches,
        seq_length=length,
        micro_batch_size=training.micro_batch_size,
        forward_only=forward_only,
    )


def _loss_and_count(session: Session, losses: list[torch.Tensor]) -> torch.Tensor:
    """[sum, count] of this rank's microbatches; zero where another rank reports the same samples."""
    counted = bool(losses) and get_tensor_model_parallel_rank() == 0
    if not counted:
        return _tensor(session, [0.0, 0.0])
    return torch.stack(losses).double().sum(0)


def _not_finite_on(losses: list[torch.Tensor]) -> list[int]:
    """Ranks that computed a loss that is not finite; all ranks call it."""
    here: list[Any] = [None] * torch.distributed.get_world_size()
    bad = any(not torch.isfinite(loss).all().item() for loss in losses)
    torch.distributed.all_gather_object(here, bad)
    return [rank for rank, found in enumerate(here) if found]


def _tensor(session: Session, values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, device=session.device)
