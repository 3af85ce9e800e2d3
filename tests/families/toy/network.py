"""The torch half: plain modules, none of them an engine's."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleDict

from slipway.config.schema import RunConfig
from slipway.models.initial import Constant, Initial, Uniform
from slipway.models.network import Batch, LossFunction, Picture, Stage
from slipway.optimizers.matrix import Matrix
from toy.config import toy_of


class Inlet(Linear):
    """Also keeps the running mean of what comes in: a buffer that every replica changes by its own samples."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.mean: Tensor
        self.batches: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean((0, 1)), 0.1)
                self.batches += 1
        return super().forward(x)


class Block(Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.wide, self.back = Linear(width, hidden), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(torch.tanh(self.wide(x)))


class Layers(Module):
    """Those of a stage, under the names that they have in the whole model."""

    def __init__(self, layers: dict[str, Module]) -> None:
        super().__init__()
        self.layers = ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers.values():
            x = layer(x)
        return x


class Toy:
    def build(self, config: RunConfig, span: range, stage: Stage, settings: Mapping[str, Any]) -> Layers:
        model = toy_of(config)
        makers = [
            ("inlet", lambda: Inlet(model.inputs, model.width)),
            *(
                (f"block{number}", lambda hidden=hidden: Block(model.width, hidden))
                for number, hidden in enumerate(model.hidden)
            ),
            ("outlet", lambda: Linear(model.width, model.outputs)),
        ]
        return Layers({name: make() for name, make in makers[span.start : span.stop]})

    def boundary(self, config: RunConfig) -> tuple[int, int]:
        return 1, toy_of(config).width

    def reads(self, config: RunConfig, stage: Stage) -> frozenset[str]:
        fields = {"inputs": stage.first, "targets": stage.last}
        return frozenset(name for name, read in fields.items() if read)

    def forward(
        self, config: RunConfig, batch: Batch, module: Module, received: Tensor | None
    ) -> tuple[Tensor, LossFunction]:
        output = module(batch["inputs"][None] if received is None else received)  # [1, samples, width]

        def loss(output: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            errors = output[0] - batch["targets"]
            total, count = errors.square().sum(), torch.tensor(errors.numel(), device=errors.device)
            largest = errors.detach().abs().amax(1)
            samples = torch.tensor(len(largest), device=errors.device)
            sums = {
                "squared_error": torch.stack([total.detach().clone(), count]),
                "largest_error": torch.stack([largest.sum(), samples]),
            }
            return total, count, sums

        return output, loss

    def picture(self, config: RunConfig, batch: Batch, output: Tensor) -> Picture:
        """Targets and outputs beside each other, -2 to 2 as black to white: a row for each sample."""
        rows = torch.cat([batch["targets"], output[0]], 1).clamp(-2, 2)
        grey = ((rows + 2) * 63.75).round().to(torch.uint8)
        return Picture(grey[:, :, None].expand(-1, -1, 3).numpy(), "targets | outputs, a row for each sample")

    def matrix(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Matrix | None:
        return Matrix() if ".block" in key and len(shape) == 2 else None

    def initial(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Initial:
        if len(shape) == 1:
            return Constant(0.0)
        bound = (6 / sum(shape)) ** 0.5  # Glorot and Bengio 2010, as torch.nn.init.xavier_uniform_
        return Uniform(-bound, bound)


NETWORK = Toy()
