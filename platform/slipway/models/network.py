"""The interface of a model family with torch: the second half of its package, in `network.NETWORK`.

An engine builds, wraps and runs the stages of a model only through it. Imports torch.
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
"""[sum, count], detached, of the loss and each measure of the family, by name. The mean is reported."""
ATTENDED = "attended"
"""A further name that Sums may hold: [sum, samples] of the share of Sample.attention_flops that attention computes.

If documents of lengths d are kept apart in a sample of s tokens, the share is the sum of d^2 over s^2; for layers with
windows see slipway.kernels.spans.attended_share. On the CPU.
"""
LossFunction = Callable[[Tensor], tuple[Tensor, Tensor, Sums]]
"""A function of the last stage's output that returns the loss's sum, its count, and the sums to report.

The sum is differentiated. The gradient is that of the sum over the global batch, divided once by the count over the
global batch.
"""


class Stage(NamedTuple):
    """One model chunk's place in the pipeline."""

    index: int = 0
    """Index of the pipeline stage, from 0."""
    count: int = 1
    """Number of pipeline stages."""
    chunk: int = 0
    """Index of the virtual stage, from 0; chunk v of stage p is followed by chunk v of stage p + 1."""
    chunks: int = 1
    """Virtual stages of each pipeline stage; 1: the schedule is not interleaved."""

    @property
    def first(self) -> bool:
        """Whether it takes samples and receives nothing from another stage."""
        return self.index == 0 and self.chunk == 0

    @property
    def last(self) -> bool:
        """Whether the loss is computed from its output."""
        return self.index == self.count - 1 and self.chunk == self.chunks - 1


class Picture(NamedTuple):
    """An image for people to look at besides numbers."""

    pixels: "np.ndarray"
    """uint8 [height, width, 3]: red, green, blue."""
    caption: str
    """The meaning of its rows and columns, in one line."""


@runtime_checkable
class Pictures(Protocol):
    """A torch half that shows what the model does with samples; `NETWORK` then has this method as well."""

    def picture(self, config: RunConfig, batch: Batch, output: Tensor) -> Picture:
        """Return a picture of what the model made of one microbatch.

        batch: the fields that the last stage reads. output: the last stage's, in the shape that Network.forward
        returned. All ranks of one replica's last stage call it, without gradients, so that they can exchange their
        parts.
        """
        ...


class Handed(NamedTuple):
    """The distribution of a step's Spread over the global batch; tensors are fp64, on the CPU."""

    counts: Tensor
    """[places, parts]: how much each part received."""
    measures: dict[str, float]
    """Further numbers of the step, by name."""
    values: dict[str, Tensor]
    """Further numbers of each part, by name: [places, parts]."""


@runtime_checkable
class Counting(Protocol):
    """The methods of a `NETWORK` that counts what its models distribute (models.family.Spread), if `FAMILY` has one."""

    def counted(self, config: RunConfig, modules: Sequence[torch.nn.Module]) -> Tensor:
        """Return this rank's counts since the last call, fp64 [numbers], to be summed over all ranks.

        The length is the same on each rank; entries of places that are on other ranks, or that another rank counts, are
        zero. Only the forward passes of training are counted, each once, also if the backward pass repeats it.
        """
        ...

    def handed(self, config: RunConfig, sums: Tensor) -> Handed:
        """Return what the counts say. sums: of `counted` over all ranks, fp64 [numbers], on the CPU."""
        ...


class Network(Protocol):
    """The torch half of a model family."""

    def build(
        self, config: RunConfig, span: range, stage: Stage, settings: Mapping[str, Any]
    ) -> torch.nn.Module:
        """Return the layers `span` of Family.layers, on torch's current default device, with arbitrary values.

        A parameter has the same name in every layout: checkpoints and initial values rely on it. settings: what the
        engine tells its own modules (Megatron-core: fields of TransformerConfig).
        """
        ...

    def boundary(self, config: RunConfig) -> tuple[int, int]:
        """Return (length, width) of what a stage sends to the next: [length, samples, width] for each microbatch."""
        ...

    def reads(self, config: RunConfig, stage: Stage) -> frozenset[str]:
        """Return the fields of a sample that a stage needs. If it is empty, no data is opened."""
        ...

    def forward(
        self, config: RunConfig, batch: Batch, module: torch.nn.Module, received: Tensor | None
    ) -> tuple[Tensor, LossFunction]:
        """Run one microbatch through one stage.

        Return its output, [length, samples, width] except on the last, and the loss.

        module: the module that `build` returned, or its wrapper, to be called. received: the output of the stage
        before; None on the first stage, and for modules that get it from the engine (Megatron-core's own).
        """
        ...

    def initial(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Initial:
        """Return a parameter's values before the first step; the engine draws them, each rank its own part.

        key: the parameter's name; layers that repeat share one, but draw numbers of their own. shape: of the whole
        parameter of one layer.
        """
        ...

    def matrix(self, config: RunConfig, key: str, shape: tuple[int, ...]) -> Matrix | None:
        """Return the layout of the hidden matrices in a parameter (see slipway.optimizers.matrix); None: it holds none.

        key: the parameter's name, as for `initial`. shape: of this rank's part.
        """
        ...
