"""The torch half: each sample is a function of seed, split, source and number."""

import hashlib

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.ledger import Draw
from toy.config import toy_of
from toy.vectors.config import vectors_of


class Drawn:
    on_host = frozenset[str]()

    def __init__(self, config: RunConfig, split: str) -> None:
        self.data, self.model, self.seed, self.split = (
            vectors_of(config),
            toy_of(config),
            config.training.seed,
            split,
        )

    @property
    def sizes(self) -> dict[str, int]:
        return dict.fromkeys(self.data.weights, self.data.samples)

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        place = f"{self.seed}:{self.split}:{draw.source}:{draw.number % self.data.samples}"
        own = torch.Generator().manual_seed(
            int.from_bytes(hashlib.sha256(place.encode()).digest()[:6], "big")
        )
        inputs = torch.randn(self.model.inputs, generator=own) + self.data.sources[draw.source].shift
        if draw.number == self.data.broken:
            inputs += torch.inf
        noise = self.data.noise * torch.randn(self.model.outputs, generator=own)
        return {"inputs": inputs, "targets": torch.sin(inputs[: self.model.outputs]) + noise}

    def close(self) -> None:
        pass
