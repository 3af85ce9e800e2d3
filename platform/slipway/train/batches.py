"""Which samples of a step a rank reads, and its readers."""

from collections.abc import Sequence

import torch

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.kind import Split
from slipway.data.randomness import sample_seed
from slipway.data.reader import Reader


def sample_positions(
    micro_batch_size: int,
    num_microbatches: int,
    data_parallel_rank: int,
    data_parallel_size: int,
) -> list[list[int]]:
    """Return for each microbatch of one rank the positions of its samples in the global batch.

    Over all data-parallel ranks they are 0 .. global_batch_size - 1, each exactly once, whatever the layout.
    """
    return [
        [
            (m * data_parallel_size + data_parallel_rank) * micro_batch_size + i
            for i in range(micro_batch_size)
        ]
        for m in range(num_microbatches)
    ]


def open_reader(
    config: RunConfig,
    split: Split,
    positions: Sequence[Sequence[int]],
    device: torch.device,
    fields: frozenset[str] | None = None,
) -> Reader:
    """Open a split and return the reader of this rank's microbatches.

    positions: those of sample_positions. fields: those that this rank's stages need, see Network.reads; None: all.
    """
    return Reader(
        kind_of(config).open(config, split, fields),
        config.training.global_batch_size,
        positions,
        device,
        fields,
        lambda draw: sample_seed(config.training.seed, split, draw),
        config.data.readers,
    )
