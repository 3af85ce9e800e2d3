"""Text, or whatever a kind of data reads, that a model is measured on besides its splits: what is asked, what comes.

Imports no torch, and knows no model: what a loss means is told by the kind of data (slipway.data.kind.Measured).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import numpy as np


class Wanted(NamedTuple):
    """What is to be measured."""

    files: tuple[str, ...] = ()
    """Files, folders or patterns, as `inputs` of a source are written; none: the run's own validation split."""
    text_key: str = "text"
    """Field (JSON lines) or column (Parquet) that holds the text."""
    context: int | None = None
    """Tokens of a window; None: those of a training sample."""
    stride: int | None = None
    """Tokens that each window after the first adds; None: as many as the context has."""
    limit: int | None = None
    """Documents of each entry of `files`, or of each source, at most; None: all."""
    end_marks: bool = False
    """Whether the loss of the mark after each document counts."""


class HeldOut(Protocol):
    """Samples of one entry of what is wanted, and what the loss over all of them means."""

    @property
    def what(self) -> str:
        """Its name, for people."""
        ...

    @property
    def on_host(self) -> frozenset[str]:
        """Fields that stay on the CPU."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What identifies it, and how much of it there is, as JSON."""
        ...

    def __len__(self) -> int:
        """Return how many samples it has. Those beside each other are of similar length."""
        ...

    def batch(self, numbers: Sequence[int], rows: int, cut: bool) -> "Mapping[str, np.ndarray]":
        """Return the fields of a microbatch, as training reads them; what is missing of `rows` counts nothing.

        cut: the batch may be shorter than a training sample, where none of these is longer.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """What a kind of data offers besides (slipway.data.kind) where a model's loss on some of it means something."""

    def in_windows(self, config: RunConfig, wanted: Wanted) -> RunConfig:
        """Return the configuration of a run whose samples are as long as the wanted context."""
        ...

    def check_wanted(self, config: RunConfig, wanted: Wanted) -> None:
        """Raise UserError for what cannot be, before anything is read; its path is that of a field of Wanted."""
        ...

    def check_there(self, wanted: Wanted) -> None:
        """Raise UserError for files that are not there, or are of no readable type; none is read."""
        ...

    def held_out(self, config: RunConfig, wanted: Wanted) -> Sequence[HeldOut]:
        """Read what is wanted, entry by entry. Raises UserError; the path of a field is `files` for what it names."""
        ...

    def measures(
        self, parts: Sequence[HeldOut], losses: Sequence[float]
    ) -> Mapping[str, Mapping[str, float]]:
        """Return the measures by name of each part, and of all together where there are several.

        losses: of each part, summed over its samples. What is too large for a float is left out.
        """
        ...

    def rules(self, config: RunConfig, wanted: Wanted) -> str:
        """Say in sentences how it is read, and by which rules the measures count."""
        ...
