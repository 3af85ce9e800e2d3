"""What a kind of data says of itself without torch: in `kind.KIND` of its package.

The ledger of samples, their order, reading ahead and each sample's random state belong to all kinds; a kind knows
how its sources are prepared, what their samples are, and how one is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from slipway.config.schema import RunConfig
from slipway.data.ledger import Draw

Split = Literal["training", "validation", "test"]


class Dataset(Protocol):
    """The samples of one split of all sources that are drawn."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Samples of an epoch, by source."""
        ...

    @property
    def on_host(self) -> frozenset[str]:
        """Fields of a sample that stay on the CPU."""
        ...

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        """A sample's fields, tensors by name; the same for the same draw, whoever reads it."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class DataKind(Protocol):
    """A kind of data, by its package's pure half."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError for what is wrong with the section `data`, before anything is read."""
        ...

    def prepare(self, config: RunConfig, progress: bool) -> str:
        """Prepare the sources, at once where that is done; returns what is there, a line for each source."""
        ...

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        """Check that every split that the run reads has samples; prepare: do what is missing. Raises UserError."""
        ...

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        """What a family may ask of the prepared samples, such as the entries of the vocabulary. Raises UserError."""
        ...

    def facts(self, config: RunConfig, source: str) -> dict[str, Any]:
        """All that the meaning of a source's sample number depends on, besides seed and name."""
        ...

    def signature(self, config: RunConfig, source: str) -> Any:
        """What a source's files look like from outside (sizes, times), as JSON."""
        ...

    def verify(self, config: RunConfig, source: str, before: Any, now: Any) -> None:
        """Compare the files whose signature has changed with what was prepared; before: None where they are new.

        Raises UserError where they are not the same.
        """
        ...

    def open(self, config: RunConfig, split: Split) -> Dataset:
        """Open a split of the sources that are drawn. Imports torch; makes no collective calls."""
        ...

    def folders(self, config: RunConfig) -> dict[str, Path]:
        """Folders that training reads, which every node must see, by the dotted path of the field that names each."""
        ...

    def written(self, config: RunConfig) -> list[Path]:
        """Files that preparation leaves behind, in the order in which to look for them."""
        ...
