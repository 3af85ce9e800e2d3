"""Samples of prepared chips as tensors. Imports torch; no sample depends on how many are read, or by whom.

Each epoch has an order of its own, in which every chip of a source comes once.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.imagery import augmentation, manifest
from slipway.data.imagery.buffers import Buffers
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import imagery_of
from slipway.data.imagery.manifest import Manifest
from slipway.data.imagery.statistics import statistics
from slipway.data.imagery.stored import Chips, StoredChips
from slipway.data.kind import Split
from slipway.data.ledger import Draw
from slipway.data.permutation import permuted
from slipway.data.randomness import generator


class Dataset:
    """The samples of one split of all sources that are drawn."""

    on_host: frozenset[str] = frozenset()

    def __init__(
        self,
        sources: Mapping[str, Chips],
        found: Manifest,
        data: Data,
        split: Split,
        seed: int,
        fields: frozenset[str] | None,
    ) -> None:
        self.sources, self.data, self.split, self.seed = sources, data, split, seed
        self.with_pixels = fields is None or "pixels" in fields
        self.buffers = Buffers(found.layout.shape, np.dtype(found.dtype))
        by_band = statistics(data, found)
        self.mean, self.std = torch.tensor(by_band.mean), torch.tensor(by_band.std)

    @property
    def sizes(self) -> dict[str, int]:
        """The samples of an epoch, by source."""
        return {name: len(chips.dates) for name, chips in self.sources.items()}

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Return the fields pixels [dates, bands, size, size], mean and std [bands], dates [dates, 2] and location [2].

        pixels: int16 with NODATA, or float16 with NaN, where no value is known; all other fields are float32. dates:
        year, day of year. location: degrees north and east of the chip's centre. Raises DataChanged if a file has
        changed since it was prepared.
        """
        chips = self.sources[draw.source]
        chip = self.chip(draw)
        sample = {
            "mean": self.mean,
            "std": self.std,
            "dates": torch.from_numpy(chips.dates[chip].astype(np.float32)),
            "location": torch.from_numpy(chips.location[chip].astype(np.float32)),
        }
        if self.with_pixels:
            pixels, memory = self.buffers.take()
            chips.read_into(chip, memory)
            sample["pixels"] = self._augmented(pixels, draw)
        return sample

    def chip(self, draw: Draw) -> int:
        """Return the number of the draw's chip in its source's split."""
        size = len(self.sources[draw.source].dates)
        epoch, place = divmod(draw.number, size)
        return permuted(place, size, f"{self.seed}/{self.split}/{draw.source}/{epoch}")

    def _augmented(self, pixels: Tensor, draw: Draw) -> Tensor:
        size, training = self.data.crop_size, self.split == "training"
        if not size and not (self.data.flip and training):
            return pixels
        numbers = generator(self.seed, self.split, draw) if training else None
        if size:
            pixels = augmentation.cropped(pixels, size, numbers)
        if self.data.flip and numbers:
            pixels = augmentation.turned(pixels, numbers)
        return pixels

    def close(self) -> None:
        """Close the files of all sources."""
        for chips in self.sources.values():
            chips.close()


def open_dataset(config: RunConfig, split: Split, fields: frozenset[str] | None) -> Dataset:
    """Open a split of all sources that are drawn, and return it.

    Raises UserError if the data is not prepared, and DataChanged if it has changed since it was checked.
    """
    data = imagery_of(config)
    found = manifest.load(data)
    sources: dict[str, Chips] = {}
    for name in data.weights:
        record = found.sources[name]
        if record.format == "terramesh":
            from slipway.data.imagery.terramesh.chips import MeshChips

            sources[name] = MeshChips(data.dir, name, split, record.splits[split], record.encoding)
        else:
            sources[name] = StoredChips(data.dir, name, split, record.splits[split], found.layout)
    return Dataset(sources, found, data, split, config.training.seed, fields)
