"""What a model family does with torch: the second half of its package, in `network.NETWORK`.

An engine builds, wraps and runs the stages of a model through this alone. Imports torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.models.initial import Initial
from slipway.optimizers.matrix import Matrix

if TYPE_CHECKING:
    import numpy as np

Batch = Mapping[str, Tensor]
"""The fields of one microbatch; on each rank only those that its stages read."""
Sums = dict[str, Tensor]
"""For the loss and each measure of the family, by name: [sum, count], detached. The mean is reported."""
ATTENDED = "attended"
"""A name that Sums may hold besides: [sum, samples] of the share of Sample.attention_flops that attention computes.

Where documents of lengths d are kept apart in a sample of s tokens, the sum of d^2 over s^2; of layers with windows see
slipway.kernels.spans.attended_share. On the CPU.
"""
LossFunction = Callable[[Tensor], tuple[Tensor, Tensor, Sums]]
"""From the last stage's output: the loss's sum, which is differentiated, its count, and what is reported.

The gradient is that of the sum over the global batch divided once by the count over the global batch.
"""


class Stage(NamedTuple):
    """One model chunk's place in the pipeline."""

    index: int = 0
    """Of the pipeline stage, from 0."""
    count: int = 1
    """Of pipeline stages."""
    chunk: int = 0
    """Of the virtual stage, from 0; chunk v of stage p is followed by chunk v of stage p + 1."""
    chunks: int = 1
    """Virtual stages of each pipeline stage; 1: the schedule is not interleaved."""

    @property
    def first(self) -> bool:
        """Whether it takes samples, and nothing from another stage."""
        return self.index == 0 and self.chunk == 0

    @property
    def last(self) -> bool:
        """Whether its output is what the loss is computed from."""
        return self.index == self.count - 1 and self.chunk == self.chunks - 1


class Picture(NamedTuple):
    """What people can look at besides numbers."""

    pixels: "np.ndarray"
    """uint8 [height, width, 3]: red, green, blue."""
    caption: str
    """What its rows and columns are, in one line."""


@runtime_checkable
class Pictures(Protocol):
    """A torch half may also show what the model does with samples; `NETWORK` has this method then."""

    def picture(self, config: RunConfig, batch: Batch, output: Tensor) -> Picture:
        """Show what became of one microbatch.

        batch: the fields that the last stage reads. output: the last stage's. All ranks of one replica's last stage
        call it, without gradients, so that they may exchange what each has a part of.
        """
        ...


class Handed(NamedTuple):
    """What became of a step's Spread, over the global batch; tensors are fp64, on the CPU."""

    counts: Tensor
    """[places, parts]: how much each part was given."""
    measures: dict[str, float]
    """Further numbers of the step, by name."""
    values: dict[str, Tensor]
    """Further numbers of each part, by name: [places, parts]."""


@runtime_checkable
class Counting(Protocol):
    """Where `FAMILY` says what its models hand out (models.family.Spread), `NETWORK` has these methods to count it."""

    def counted(self, config: RunConfig, modules: Sequence[torch.nn.Module]) -> Tensor:
        """Return what this rank's modules have counted since the last call, fp64 of one axis, to be summed over all ranks.

        Of the same length on each rank; zero for places that are on others, and for what others count, too. Counted
        are the training's forward passes, each once, also where it is done again in the backward pass.
        """
        ...

    def handed(self, config: RunConfig, sums: Tensor) -> Handed:
        """Return what the sums of `counted` over all ranks say. sums: on the CPU."""
        ...


class Network(Protocol):
    """The torch half of a model family."""

    def build(
        self, config: RunConfig, span: range, stage: Stage, settings: Mapping[str, Any]
    ) -> torch.nn.Module:
        """Return the layers `span` of Family.layers, on torch's default device at the call, with any values.

        A parameter has the same name in every layout: checkpoints and initial values go by it. settings: what the
        engine tells the modules that are its own (Megatron-core: fields of TransformerConfig).
        """
        ...

    def boundary(self, config: RunConfig) -> tuple[int, int]:
        """Return (length, width) of what one stage hands to the next: [length, samples, width], for each microbatch."""
        ...

    def reads(self, config: RunConfig, stage: Stage) -> frozenset[str]:
        """Return the fields of a sample that a stage needs. Where it is empty, no data is opened."""
        ...

    def forward(
        self, config: RunConfig, batch: Batch, module: torch.nn.Module, received: Tensor | None
    ) -> tuple[Tensor, LossFunction]:
        """Run one microbatch through one stage.

        module: what `build` made, or its wrapper, to be called. received: what the stage before has handed over;
        None on the first stage, and for modules that the engine hands it to (Megatron-core's own).
        """
        ...

    def initial(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Initial:
        """Return what a parameter's values are before the first step; the engine draws them, each rank its own part.

        key: the parameter's name; layers that repeat share one, each with numbers of its own. shape: of the whole
        parameter, of one layer.
        """
        ...

    def matrix(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Matrix | None:
        """Return what a parameter is as a hidden matrix (see slipway.optimizers.matrix); None: it is none.

        key: the parameter's name, as for `initial`. shape: of this rank's part.
        """
        ...
