"""Computes one step, one update, one validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import torch

from slipway.data.ledger import DataLedger
from slipway.data.reader import Reader
from slipway.models import family, network_of, spread_of
from slipway.models.network import ATTENDED, Batch, Counting, Sums
from slipway.train.load import Load
from slipway.train.pictures import Painter
from slipway.train.setup import Session
from slipway.train.stopping import Stopping, reasons
from slipway.train.watch.hangs import Watch


@dataclass(frozen=True)
class Means:
    """Means over some samples, the same on every rank."""

    loss: float  # mean over what the family counts, in the unit of its loss (GPT: nats per token)
    measures: dict[str, float]  # the family's other measures, by name


@dataclass(frozen=True)
class Validated(Means):
    """The result of a validation, the same on every rank."""

    picture_error: int
    """The system's number of the error that kept the picture from being written; 0: none, or there is no picture."""


@dataclass(frozen=True)
class Outcome(Means):
    """The result of a step over the global batch, before any update; the same on every rank."""

    grad_norm: float  # L2 norm of the whole gradient, before clipping
    stop: list[str]  # why this segment should end after this step, as any rank has seen; empty: continue
    not_finite: list[int]  # ranks that computed a loss that is not finite
    attended: float | None
    """Mean over the samples of models.network.ATTENDED; None: documents are not kept apart."""
    energy: list[float]
    """Energy of all ranks since the segment began: [joules, counters] of each of energy.counter.SOURCES."""
    load: Load | None
    """The spread of the model's work in this step; None: the model spreads none."""


def compute(session: Session, batches: Sequence[Batch], stopping: Stopping) -> Outcome:
    """Run forward, backward and reduction; return the loss and the reasons to stop, agreed by all ranks."""
    model, names = session.model, _names(session)
    model.zero_grad()
    sums = model.forward_backward(batches, session.times.timed)
    grad_norm = model.grad_norm()
    flags = _tensor(session, [float(not isfinite(grad_norm)), *stopping.flags()])
    energy = session.meter.numbers()
    parts = [_own(session, sums).flatten(), _attended(session, sums), flags, _tensor(session, energy)]
    counted = _counted(session)
    totals = torch.cat([counted, *parts])
    torch.distributed.all_reduce(totals)
    totals = totals.cpu()
    load, numbers = _load(session, totals[: len(counted)]), totals[len(counted) :].tolist()
    numbers, energy = numbers[: -len(energy)], numbers[-len(energy) :]
    means = _means(names, numbers[: 2 * len(names)])
    shares, samples, bad_norms, *seen = numbers[2 * len(names) :]
    if bad_norms:  # a bad norm on one rank counts on all
        grad_norm = nan
    where = _not_finite_on(sums, names[0]) if bad_norms or not isfinite(means.loss) else []
    attended = shares / samples if samples else None
    measures = means.measures | (load.summary() if load else {})
    return Outcome(means.loss, measures, grad_norm, reasons(seen), where, attended, energy, load)


def update_weights(session: Session, learning_rate: float, grad_norm: float) -> None:
    """Clip and apply the gradients that `compute` has left."""
    session.model.update(learning_rate, grad_norm)


def validate(session: Session, steps: int, watch: Watch, step: int) -> Validated:
    """Return the means over the first `steps` global batches of the validation split, without gradients.

    Writes their picture. Training draws the same random numbers after it as without it. step: the training step that is
    reported to the watch; each batch counts as progress.
    """
    config, names = session.plan.config, _names(session)
    total = _tensor(session, [0.0, 0.0] * len(names)).view(-1, 2)
    data, painter = session.validation_start, Painter(session)
    with session.model.evaluating():
        for number in range(steps):
            watch.at(step, f"validation batch {number + 1} of {steps}")
            following = data.advance(config.training.global_batch_size)
            last = number + 1 == steps
            batches = read(session, session.validation_data, data, None if last else following)
            data = following
            total += _own(session, session.model.forward(batches, painter.seen))
    told = torch.cat([total.flatten(), _tensor(session, [painter.write(step)])])  # one rank writes
    torch.distributed.all_reduce(told)
    *numbers, error = told.tolist()
    means = _means(names, numbers)
    return Validated(means.loss, means.measures, int(error))


def read(
    session: Session, reader: Reader | None, data: DataLedger, following: DataLedger | None
) -> Sequence[Batch]:
    """Return a step's microbatches; empty ones on ranks that read no samples."""
    if reader is None:
        return [{} for _ in range(session.plan.num_microbatches)]
    return reader.read(data, following)


def _names(session: Session) -> list[str]:
    """Return the names of what is reported, the loss first."""
    config = session.plan.config
    told = family(config)
    return [told.loss.name, *(measure.name for measure in told.measures(config))]


def _own(session: Session, sums: Sequence[Sums]) -> torch.Tensor:
    """Return [sum, count] of each name over this rank's microbatches, as float64 [names, 2].

    Zero if another rank reports the same samples.
    """
    names = _names(session)
    if not sums or not session.model.counts:
        return _tensor(session, [0.0, 0.0] * len(names)).view(-1, 2)
    return torch.stack([torch.stack([one[name].double() for one in sums]).sum(0) for name in names])


def _attended(session: Session, sums: Sequence[Sums]) -> torch.Tensor:
    """Return [sum, samples] of ATTENDED over this rank's microbatches, as float64 [2].

    Zero if another rank reports the same samples.
    """
    found = [one[ATTENDED] for one in sums if ATTENDED in one]
    if not found or not session.model.counts:
        return _tensor(session, [0.0, 0.0])
    return torch.stack(found).sum(0).to(session.device)


def _counted(session: Session) -> torch.Tensor:
    """Return what this rank's part of the model has handed out, to be summed; empty if the model hands nothing out."""
    config = session.plan.trained
    if spread_of(config) is None:
        return _tensor(session, [])
    network = network_of(config)
    assert isinstance(network, Counting)
    return network.counted(config, session.model.modules)


def _load(session: Session, sums: torch.Tensor) -> Load | None:
    """Return the load that follows from the sums over all ranks; None if the model hands nothing out."""
    config = session.plan.trained
    spread, network = spread_of(config), network_of(config)
    if spread is None:
        return None
    assert isinstance(network, Counting)
    return Load(spread, *network.handed(config, sums))


def _means(names: list[str], numbers: list[float]) -> Means:
    """Return the means, from the sum and the count of each name."""
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    loss, *others = (total / count if count else nan for total, count in pairs)
    return Means(loss, dict(zip(names[1:], others, strict=True)))


def _not_finite_on(sums: Sequence[Sums], name: str) -> list[int]:
    """Return the ranks that computed a loss that is not finite; all ranks call it."""
    here: list[Any] = [None] * torch.distributed.get_world_size()
    bad = any(not torch.isfinite(one[name]).all().item() for one in sums)
    torch.distributed.all_gather_object(here, bad)
    return [rank for rank, found in enumerate(here) if found]


def _tensor(session: Session, values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, device=session.device)
