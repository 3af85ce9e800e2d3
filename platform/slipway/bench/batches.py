"""Batches to measure with, of samples that the kind of data makes up."""

from collections.abc import Collection
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.kind import MadeUp
from slipway.data.ledger import Draw
from slipway.data.randomness import SEED_FIELD, sample_seed
from slipway.errors import UserError


def random_batch(
    config: RunConfig, device: Any = "cpu", fields: Collection[str] | None = None
) -> dict[str, Any]:
    """Return a microbatch on the device. Raises UserError if the kind of data makes up no samples.

    fields: those that a rank's stages read, as in training; None: all that samples have.
    """
    from slipway.data.collate import collate

    kind, seed = kind_of(config), config.training.seed
    if not isinstance(kind, MadeUp):
        raise UserError(
            "data.kind",
            "generates no samples, and no data is prepared to measure with",
            value=config.data.kind,
            do="run `slipway data` first, with the same data.* overrides",
        )
    dataset = kind.made_up(config)
    draws = [Draw("random", number) for number in range(config.training.micro_batch_size)]
    samples = [{**dataset[draw], SEED_FIELD: sample_seed(seed, "training", draw)} for draw in draws]
    batch = collate(samples, fields)
    return {name: x if name in dataset.on_host else x.to(device) for name, x in batch.items()}
