"""Measure a model's loss over samples that it does not train on: every rank computes its share, in any layout."""

from collections.abc import Callable, Iterator, Sequence

import torch

from slipway.data.held_out import HeldOut
from slipway.engine.engine import Rank
from slipway.models import family
from slipway.models.network import Batch
from slipway.plan import Plan


def steps_of(plan: Plan, held_out: HeldOut) -> int:
    """Return how many forward passes of a global batch its samples take."""
    return -(-len(held_out) // plan.config.training.global_batch_size)


def summed_loss(
    plan: Plan,
    model: Rank,
    device: torch.device,
    held_out: HeldOut,
    replica: int = 0,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> torch.Tensor:
    """Return [sum, count], fp64, of the loss over the samples that this rank reports.

    Summed over ranks: over all samples.

    All ranks call it, inside `model.evaluating()`. replica: this rank's data-parallel index. tell: called before each
    global batch with how many are done, of how many.
    """
    name, steps = family(plan.config).loss.name, steps_of(plan, held_out)
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for step in range(steps):
        tell(step, steps)
        batches = [_on(device, batch, held_out) for batch in _batches(plan, model, held_out, replica, step)]
        sums = model.forward(batches)
        if model.counts:
            for one in sums:
                total += one[name].double()
    return total


def _batches(plan: Plan, model: Rank, held_out: HeldOut, replica: int, step: int) -> Iterator[Batch]:
    """Yield this rank's microbatches of a step.

    Only a single process may read short ones, as ranks exchange fixed lengths.
    """
    rows, samples = plan.config.training.micro_batch_size, len(held_out)
    for number in range(plan.num_microbatches):
        first = ((step * plan.num_microbatches + number) * plan.data_parallel_size + replica) * rows
        chosen: Sequence[int] = range(first, min(first + rows, samples)) or ()
        fields = held_out.batch(chosen, rows, cut=plan.world_size == 1 and bool(chosen))
        yield {name: torch.from_numpy(fields[name]) for name in fields if name in model.reads}


def _on(device: torch.device, batch: Batch, held_out: HeldOut) -> Batch:
    return {name: field if name in held_out.on_host else field.to(device) for name, field in batch.items()}
