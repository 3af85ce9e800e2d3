"""What training, checkpoints and benchmarks ask of an engine. They know no other word of it.

One object of Rank stands on each rank: its model chunks and their optimizer. Where a rank stands follows from the
plan (Plan.grid); where its samples come from, what is done with its numbers, and what a checkpoint is called is not
the engine's matter.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from slipway.models.network import Batch, Sums
from slipway.plan import Plan
from slipway.ranks.environment import Place

Timed = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Wraps a function so that its calls are timed."""


Seen = Callable[[Batch, Tensor], None]
"""Told a microbatch and what the last stage has made of it, on the ranks that have that stage."""


class Engine(Protocol):
    """Process groups, and models in them."""

    def connect(self, plan: Plan, place: Place) -> torch.device:
        """Join the process groups of the plan's layout; returns this rank's device. A signal ends the rank."""
        ...

    def disconnect(self) -> None:
        """Leave all process groups."""
        ...

    def build(self, plan: Plan, device: torch.device, optimize: bool = True, initial: bool = True) -> "Rank":
        """This rank's part of the model with its initial weights. optimize: and of its optimizer, to train it.

        initial: false where a checkpoint is loaded next, and the time to draw them would be lost.
        Raises UserError for what the engine cannot do with the modules that the family has built.
        """
        ...


class Rank(Protocol):
    """One rank's part of a model and its optimizer."""

    @property
    def reads(self) -> frozenset[str]:
        """The fields of a sample that this rank's stages need; empty: no data."""
        ...

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """The family's own modules on this rank, in pipeline order, as Network.build has made them."""
        ...

    @property
    def counts(self) -> bool:
        """Whether the sums of this rank count; other ranks that compute the same samples have the same ones."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        ...

    def forward_backward(self, batches: Sequence[Batch], timed: Timed) -> list[Sums]:
        """Run a step's microbatches forward and backward, and reduce the gradients over all replicas.

        timed: wraps the forward pass of one microbatch. Returns the sums of each microbatch, on the ranks that have
        the last stage.
        """
        ...

    def forward(self, batches: Sequence[Batch], seen: Seen | None = None) -> list[Sums]:
        """Run microbatches forward; returns the same. seen: told of each microbatch, in their order."""
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """No gradients, evaluation mode, whole parameters inside; training draws the same random numbers after it."""
        ...

    def whole_parameters(self) -> AbstractContextManager[None]:
        """Return every rank holds current parameters inside, also where their gathering overlaps the forward pass."""
        ...

    def grad_norm(self) -> float:
        """Make the reduced gradients ready for an update; returns the L2 norm of the whole gradient."""
        ...

    def update(self, learning_rate: float, grad_norm: float) -> None:
        """Clip the gradients to optimizer.clip_grad and apply them."""
        ...

    def leave_out(self) -> None:
        """The step makes no update: what its forward passes have changed (running statistics) is as it was before."""
        ...

    def snapshotter(self, beside: bool) -> "Snapshotter":
        """Return takes copies for checkpoints; made by all ranks together.

        beside: training goes on while a copy is written, so that everything is copied.
        """
        ...

    def load(
        self, path: Path, step: int, updates: int, with_generators: bool, with_states: bool = True
    ) -> None:
        """Fill the model and its optimizer, if any, from the tensors in a checkpoint of any layout; all ranks call it.

        updates: that the optimizer has made. with_generators: the layout is the checkpoint's, so that generators go
        on where they were; else they are seeded for what follows `step`. with_states: the checkpoint holds what the
        optimizer keeps; else that is zero, as before the first update.
        """
        ...


class Snapshotter(Protocol):
    """Takes copies of one rank's part."""

    def take(self) -> "Snapshot":
        """Return what is now; training may go on when this returns."""
        ...


class Snapshot(Protocol):
    """Copies of all that a rank writes, or sends to the rank that writes it."""

    def write(self, folder: Path, group: Any, waits: Callable[[bool], None]) -> None:
        """Write this rank's tensors as files `__RANK_*`, and on rank 0 the index of all; all ranks call it.

        group: of all ranks, whose threads this may be called on. waits: told whether this rank waits for the others,
        whenever that changes. Raises OSError where the file system refuses.
        """
        ...

    def finish(self, folder: Path) -> None:
        """On rank 0, when all have written: add what the format has besides tensors and index."""
        ...
