"""Data besides the run's splits that a model's loss is measured on: what is asked for, and what is read.

Imports no torch, and knows no model: the kind of data says what a loss means (slipway.data.kind.Measured).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import numpy as np


class Wanted(NamedTuple):
    """The data to measure on."""

    files: tuple[str, ...] = ()
    """Files, folders or patterns, written like `inputs` of a source; empty: the run's own validation split."""
    text_key: str = "text"
    """The field (JSON lines) or column (Parquet) that holds the text."""
    context: int | None = None
    """Tokens of a window; None: those of a training sample."""
    stride: int | None = None
    """Tokens that each window after the first adds; None: as many as the context has."""
    limit: int | None = None
    """Documents of each entry of `files`, or of each source, at most; None: all."""
    end_marks: bool = False
    """Whether the loss of the mark after each document counts."""


class HeldOut(Protocol):
    """Samples of one entry that was asked for."""

    @property
    def what(self) -> str:
        """The entry's name, for people."""
        ...

    @property
    def on_host(self) -> frozenset[str]:
        """The fields that stay on the CPU."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What identifies the entry, and how much of it there is, as JSON."""
        ...

    def __len__(self) -> int:
        """Return the number of samples. Neighbours are of similar length."""
        ...

    def batch(self, numbers: Sequence[int], rows: int, cut: bool) -> "Mapping[str, np.ndarray]":
        """Return the fields of a microbatch in the shapes of training, each [rows, sequence_length].

        Rows that are missing in `numbers` count nothing.

        cut: the batch may be shorter than a training sample if none of these is longer.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """A kind of data (slipway.data.kind) for which a model's loss on some of it means something."""

    def in_windows(self, config: RunConfig, wanted: Wanted) -> RunConfig:
        """Return the configuration of a run whose samples are as long as the wanted context."""
        ...

    def check_wanted(self, config: RunConfig, wanted: Wanted) -> None:
        """Raise UserError for what cannot be met, before anything is read; its path names a field of Wanted."""
        ...

    def check_there(self, wanted: Wanted) -> None:
        """Raise UserError for files that are missing or have no readable type; no file is read."""
        ...

    def held_out(self, config: RunConfig, wanted: Wanted) -> Sequence[HeldOut]:
        """Read what is wanted and return it entry by entry. Raises UserError, with the path `files` for a bad file."""
        ...

    def measures(
        self, parts: Sequence[HeldOut], losses: Sequence[float]
    ) -> Mapping[str, Mapping[str, float]]:
        """Return the measures by name of each part, and of all parts together if there are several.

        losses: the loss of each part, summed over its samples. A measure that is too large for a float is left out.
        """
        ...

    def rules(self, config: RunConfig, wanted: Wanted) -> str:
        """Return sentences that say how the data is read, and by which rules the measures count."""
        ...
