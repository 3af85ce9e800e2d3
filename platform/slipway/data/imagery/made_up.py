"""Chips of random pixels, to measure with. Imports torch."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from slipway.data.imagery.config import Config as Data
from slipway.data.ledger import Draw
from slipway.data.randomness import generator

MEAN, DEVIATION = 2000.0, 1000.0


class MadeUp:
    """A dataset of random pixels (see slipway.data.kind.MadeUp)."""

    sizes: Mapping[str, int] = {}
    on_host: frozenset[str] = frozenset()

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Return the fields of slipway.data.imagery.dataset, pixels as int16."""
        data, random = self.data, generator(self.seed, "training", draw)
        size, bands = data.crop_size or data.chip_size, len(data.bands)
        pixels = MEAN + DEVIATION * random.standard_normal((data.num_frames, bands, size, size), np.float32)
        days = np.sort(random.integers(1, 366, data.num_frames))
        dates = np.stack([np.full_like(days, 2021), days], 1)
        return {
            "pixels": torch.from_numpy(pixels.astype(np.int16)),
            "mean": torch.full((bands,), MEAN),
            "std": torch.full((bands,), DEVIATION),
            "dates": torch.from_numpy(dates.astype(np.float32)),
            "location": torch.from_numpy(random.uniform(-80, 80, 2).astype(np.float32)),
        }

    def close(self) -> None:
        """Return at once: no file is open."""
