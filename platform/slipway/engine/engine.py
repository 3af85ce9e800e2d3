"""The interface of an engine: all that training, checkpoints and benchmarks use of it.

Each rank has one object of Rank: its model chunks and their optimizer. A rank's place follows from the plan
(Plan.grid). Where its samples come from, what is done with its numbers, and what a checkpoint is called is not the
engine's concern.
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
"""Called with a microbatch and the last stage's output for it, on the ranks that have that stage."""


class Engine(Protocol):
    """Process groups, and models in them."""

    def connect(self, plan: Plan, place: Place) -> torch.device:
        """Join the process groups of the plan's layout and return this rank's device. A signal ends the rank."""
        ...

    def disconnect(self) -> None:
        """Leave all process groups."""
        ...

    def build(self, plan: Plan, device: torch.device, optimize: bool = True, initial: bool = True) -> "Rank":
        """Return this rank's part of the model with its initial weights.

        Optimize: build its optimizer, too, for training.

        initial: false if a checkpoint is loaded next, so that no time is lost to draw weights. Raises UserError if the
        engine does not support the modules that the family has built.
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
        """The family's own modules on this rank, in pipeline order, as Network.build returned them."""
        ...

    @property
    def counts(self) -> bool:
        """Whether this rank's sums count; other ranks that compute the same samples have the same sums."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        ...

    def forward_backward(self, batches: Sequence[Batch], timed: Timed) -> list[Sums]:
        """Run a step's microbatches forward and backward, and reduce the gradients over all replicas.

        timed: wraps the forward pass of one microbatch. Returns the sums of each microbatch, on the ranks that have the
        last stage; elsewhere none.
        """
        ...

    def forward(self, batches: Sequence[Batch], seen: Seen | None = None) -> list[Sums]:
        """Run microbatches forward and return the sums of each, on the ranks that have the last stage.

        seen: called for each microbatch, in order.
        """
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context for evaluation: no gradients, evaluation mode, whole parameters.

        Training draws the same random numbers after it as without it.
        """
        ...

    def whole_parameters(self) -> AbstractContextManager[None]:
        """Return a context in which every rank holds current parameters, even if their gathering is overlapped."""
        ...

    def grad_norm(self) -> float:
        """Prepare the reduced gradients for an update; return the L2 norm of the whole gradient."""
        ...

    def update(self, learning_rate: float, grad_norm: float) -> None:
        """Clip the gradients to optimizer.clip_grad and apply them."""
        ...

    def leave_out(self) -> None:
        """Skip the update of a step: restore what its forward passes have changed (running statistics)."""
        ...

    def snapshotter(self, beside: bool) -> "Snapshotter":
        """Return an object that takes copies for checkpoints; all ranks call it together.

        beside: training continues while a copy is written, so everything must be copied.
        """
        ...

    def load(
        self, path: Path, step: int, updates: int, with_generators: bool, with_states: bool = True
    ) -> None:
        """Fill the model and its optimizer, if any, from the tensors in a checkpoint of any layout; all ranks call it.

        updates: that the optimizer has made. with_generators: the layout is the checkpoint's, so that generators
        continue where they were; else they are seeded for what follows `step`. with_states: the checkpoint holds the
        optimizer's state; else that is zero, as before the first update.
        """
        ...


class Snapshotter(Protocol):
    """An object that takes copies of one rank's part."""

    def take(self) -> "Snapshot":
        """Return a copy of the current state; training may continue when this returns."""
        ...


class Snapshot(Protocol):
    """Copies of everything that a rank writes, or sends to the rank that writes it."""

    def write(self, folder: Path, group: Any, waits: Callable[[bool], None]) -> None:
        """Write this rank's tensors as files `__RANK_*`, and on rank 0 the index of all; all ranks call it.

        group: a group of all ranks for this call alone, which may run in their background threads. waits: called with
        whether this rank waits for the others, whenever that changes. Raises OSError if the file system refuses.
        """
        ...

    def finish(self, folder: Path) -> None:
        """Add the format's files other than tensors and index, on rank 0, when all ranks have written."""
        ...
