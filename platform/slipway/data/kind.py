"""The interface of a kind of data without torch: `KIND` in the module `kind` of its package.

The ledger of samples, their order, reading ahead, checksums and each sample's random numbers are common to all kinds. A
kind knows how its sources are prepared, what their samples are, and how to read one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from slipway.config.schema import RunConfig
from slipway.data.files import FileRecord
from slipway.data.ledger import Draw

Split = Literal["training", "validation", "test"]


class Dataset(Protocol):
    """The samples of one split in all sources that are drawn. Threads share it (see DataSection.readers)."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The samples of an epoch, by source."""
        ...

    @property
    def on_host(self) -> frozenset[str]:
        """The fields of a sample that stay on the CPU."""
        ...

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        """Return a sample's fields: tensors, arrays or numbers by name, alike in every sample.

        The same draw gives the same sample on any rank, in any order, in any process. Whatever is random in it (crops,
        masks, augmentation) comes from slipway.data.randomness.generator(config.training.seed, split, draw) alone.
        Raises slipway.data.files.DataChanged if a file is no longer what was opened.
        """
        ...

    def close(self) -> None:
        """Close all open files."""
        ...


@runtime_checkable
class DataKind(Protocol):
    """A kind of data, as its package offers it without torch."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError if the section `data` is wrong, before anything is read.

        This includes splits: the run reads validation samples if validation.steps is above 0.
        """
        ...

    def prepare(self, config: RunConfig, progress: bool) -> str:
        """Prepare the sources unless that is done; return what is prepared, with a line for each source.

        An interrupted preparation continues. progress: report it on stderr (slipway.data.progress).
        """
        ...

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        """Raise UserError unless every split that the run reads has samples of every source.

        prepare: prepare what is missing first.
        """
        ...

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        """Return the properties of the prepared samples that a family may ask for, such as vocab_size.

        Raises UserError if the data is not prepared.
        """
        ...

    def facts(self, config: RunConfig, source: str) -> Mapping[str, Any]:
        """Return everything but seed and name that the meaning of a source's sample numbers depends on, as JSON.

        The keys are for people: they name what differs if a run is continued with other data.
        """
        ...

    def files(self, config: RunConfig, source: str) -> Mapping[Path, FileRecord]:
        """Return a source's prepared files that training reads, with their records, in a fixed order.

        Those whose size or time has changed since the last start are compared with their checksums.
        """
        ...

    def open(self, config: RunConfig, split: Split, fields: frozenset[str] | None = None) -> Dataset:
        """Open a split of the sources that are drawn, and return it. May import torch; makes no collective calls.

        fields: those that this rank uses; others may be left out of the samples and not be read. None: all.
        """
        ...

    def folders(self, config: RunConfig) -> Mapping[str, Path]:
        """Return the folders that training reads, which every node must see, by the dotted path of each one's field."""
        ...

    def written(self, config: RunConfig) -> list[Path]:
        """Return the files that preparation leaves behind; the first vouches for the others, as a manifest does.

        Empty if nothing is prepared for this kind. The files need not exist; at most the first is read, to know the
        others.
        """
        ...

    def tokenizer(self, config: RunConfig) -> Sequence[Path]:
        """Return the prepared files of the tokenizer, of which each run keeps a copy; empty if the kind has none.

        They are small. The first is tokenizer.json. slipway.data.text.vocabulary reads them; they need not exist.
        """
        ...


@runtime_checkable
class MadeUp(Protocol):
    """A kind that can also make up samples, to measure with if nothing is prepared; its `KIND` has these then."""

    @property
    def unlimited(self) -> Sequence[str]:
        """The overrides under which no source limits the model."""
        ...

    def made_up(self, config: RunConfig) -> Dataset:
        """Return samples of random numbers with the fields and shapes of real ones; no file is read."""
        ...
