"""Samples of prepared data as tensors. Imports torch; no sample depends on how many are read, or by whom.

The tokens of a source's split, one document after the other, are cut into samples of sequence_length + 1 that
overlap by one token: sample k is tokens [kL, kL + L + 1). Each epoch has an order of its own.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data import manifest
from slipway.data.ledger import Draw
from slipway.data.permutation import permuted
from slipway.data.split import samples_per_epoch
from slipway.data.tokens import Split, Stretch, TokenFile, find_split


class TokenSource:
    """One split of one source."""

    def __init__(self, file: TokenFile, stretch: Stretch, length: int, key: str) -> None:
        """length: tokens that a sample trains on. key: what names the order of each epoch."""
        self.file, self.stretch, self.length, self.key = file, stretch, length, key
        self.size = samples_per_epoch(stretch.count, length)

    def __getitem__(self, number: int) -> np.ndarray:
        """Sample `number` of the run, in the order of its epoch: [length + 1] tokens. Raises DataChanged."""
        epoch, place = divmod(number, self.size)
        k = permuted(place, self.size, f"{self.key}/{epoch}")
        return self.file.read(self.stretch.first + k * self.length, self.length + 1)


class Dataset:
    """The samples of one split of all sources."""

    def __init__(self, sources: dict[str, TokenSource], length: int) -> None:
        self.sources = sources
        self.loss_mask = torch.ones(length)
        self.position_ids = torch.arange(length)

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of an epoch, by source."""
        return {name: source.size for name, source in self.sources.items()}

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Tokens, labels, position_ids (int64) and loss_mask (fp32), each [sequence_length]. Raises DataChanged."""
        text = torch.from_numpy(self.sources[draw.source][draw.number].astype(np.int64))
        return {
            "tokens": text[:-1],
            "labels": text[1:],
            "loss_mask": self.loss_mask,
            "position_ids": self.position_ids,
        }

    def close(self) -> None:
        """Close the files."""
        for source in self.sources.values():
            source.file.close()


def open_dataset(config: RunConfig, split: Split) -> Dataset:
    """Open a split of all the sources that are drawn.

    Raises UserError where the data is not prepared, and DataChanged where it has changed since it was checked.
    """
    found = manifest.load(config.data)
    sources, length = {}, config.training.sequence_length
    for name, source in config.data.sources.items():
        if not source.weight:
            continue
        prefix, record = manifest.prefix(config.data, name), found.sources[name]
        stretch = find_split(prefix, record, config.data.split, split)
        file = TokenFile(Path(f"{prefix}.bin"), stretch.dtype, record.bin.bytes)
        key = f"{config.training.seed}/{split}/{name}"
        sources[name] = TokenSource(file, stretch, length, key)
    return Dataset(sources, length)
