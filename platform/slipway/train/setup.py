"""Builds everything a rank holds while it trains, in a stated order: model, weights, optimizer, data."""

from dataclasses import dataclass, field

import torch

from slipway.data.ledger import DataLedger
from slipway.data.reader import Reader
from slipway.engine import engine_of
from slipway.engine.engine import Rank
from slipway.plan import Plan
from slipway.train.batches import open_reader, sample_positions
from slipway.train.meter import Meter
from slipway.train.watch.stragglers import ForwardTimes


@dataclass
class Session:
    """One rank's part of a run."""

    plan: Plan
    device: torch.device
    model: Rank
    times: ForwardTimes
    train_data: Reader | None = None  # None on ranks whose stages read no fields of the samples
    validation_data: Reader | None = None
    meter: Meter = field(default_factory=lambda: Meter([]))  # counts nothing, unless training has set it

    @property
    def validation_start(self) -> DataLedger:
        """The position at which validation begins: each draws the same samples."""
        config = self.plan.config
        return DataLedger.begin(config.training.seed, config.data.weights, {})

    def close(self) -> None:
        """Stop the threads that read samples and counters."""
        self.meter.close()
        for reader in (self.train_data, self.validation_data):
            if reader:
                reader.close()


def set_up(plan: Plan, device: torch.device) -> Session:
    """Build this rank's part, open its data and return the session; process groups must exist."""
    session = build_session(plan, device)
    _open_data(session)
    return session


def build_session(plan: Plan, device: torch.device) -> Session:
    """Build and return the session with this rank's model and optimizer, without data."""
    return Session(plan, device, engine_of(plan.config).build(plan, device), ForwardTimes(device))


def build_model(plan: Plan, device: torch.device) -> Rank:
    """Build and return this rank's model alone, for evaluation and export: no gradients, no optimizer."""
    return engine_of(plan.config).build(plan, device, optimize=False)


def _open_data(session: Session) -> None:
    plan, fields = session.plan, session.model.reads
    config = plan.config
    training, validation = config.training, config.validation
    if not fields:
        return
    replica = plan.grid.coordinates(torch.distributed.get_rank()).dp
    positions = sample_positions(
        training.micro_batch_size, plan.num_microbatches, replica, plan.data_parallel_size
    )

    session.train_data = open_reader(config, "training", positions, session.device, fields)
    if validation.steps:
        session.validation_data = open_reader(config, "validation", positions, session.device, fields)
