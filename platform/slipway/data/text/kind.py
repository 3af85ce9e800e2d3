"""The kind `text` without torch: its preparation, the meaning of its samples, and the paths of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.data.files import FileRecord
from slipway.data.kind import DataKind, Dataset, Split
from slipway.data.split import check_shares
from slipway.data.text.config import text_of
from slipway.data.text.measured import MeasuredText
from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.data.text.manifest import Manifest


class Text(MeasuredText):
    """The kind of data `text`, whose loss can be measured."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError if the settings of splits and tokenizer are not valid."""
        data = text_of(config)
        check_shares(data.split, config.validation.steps)
        tokenizer = data.tokenizer
        if tokenizer.kind == "file" and tokenizer.path is None:
            raise UserError(
                "data.tokenizer.path",
                "is missing, but kind=file needs the path of a tokenizer.json",
                do="set data.tokenizer.path=FILE",
            )
        if tokenizer.kind != "file" and tokenizer.path is not None:
            raise UserError(
                "data.tokenizer.path",
                f"has no effect with data.tokenizer.kind={tokenizer.kind}",
                value=tokenizer.path,
                use="kind=file, or set it to null",
            )

    def prepare(self, config: RunConfig, progress: bool) -> str:
        """Tokenize the sources into data.dir unless that is done; return a summary of what is prepared.

        An interrupted preparation continues.
        """
        from slipway.data.text.preparation import prepare
        from slipway.data.text.summary import summary

        data = text_of(config)
        return summary(data, prepare(data, progress))

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        """Raise UserError unless the data is prepared and long enough.

        prepare: prepare the data first if there is none.
        """
        from slipway.data.text.split import check_split

        found = _prepared(config, prepare)
        wants_validation = config.validation.steps > 0
        check_split(text_of(config), found, (True, wants_validation, False))
        for name in config.data.weights:
            _check_length(config, name, found.sources[name], wants_validation)

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        """Return vocab_size, the entries of the tokenizer."""
        from slipway.data.text import manifest

        return {"vocab_size": manifest.load(text_of(config)).vocab_size}

    def facts(self, config: RunConfig, source: str) -> dict[str, Any]:
        """Return everything but seed and name that the meaning of a source's sample numbers depends on."""
        from slipway.data.text import manifest

        data = text_of(config)
        found = manifest.load(data)
        return {
            "data.sequence_length": data.sequence_length,
            "data.split": list(data.split),
            "the checksum of its tokens": found.sources[source].bin.sha256,
            "the checksum of its index": found.sources[source].idx.sha256,
            manifest.TOKENIZER_FACT: found.tokenizer.file.sha256,
        }

    def files(self, config: RunConfig, source: str) -> dict[Path, FileRecord]:
        """Return the source's .bin and .idx with their records."""
        from slipway.data.text import manifest

        data = text_of(config)
        record, prefix = manifest.load(data).sources[source], manifest.prefix(data, source)
        return {Path(f"{prefix}.bin"): record.bin, Path(f"{prefix}.idx"): record.idx}

    def open(self, config: RunConfig, split: Split, fields: frozenset[str] | None = None) -> Dataset:
        """Open a split of the sources that are drawn, and return it. Imports torch.

        All fields are made of the same tokens: leaving out those that are not needed would save nothing.
        """
        from slipway.data.text.dataset import open_dataset

        return open_dataset(config, split)

    def folders(self, config: RunConfig) -> dict[str, Path]:
        """Return the folder of the prepared data."""
        return {"data.dir": text_of(config).dir}

    def written(self, config: RunConfig) -> list[Path]:
        """Return the paths of manifest.json and of each source's tokens."""
        data = text_of(config)
        names = (f"{name}{end}" for name in data.sources for end in (".bin", ".idx"))
        return [data.dir / name for name in ("manifest.json", *names)]

    def tokenizer(self, config: RunConfig) -> list[Path]:
        """Return the path of tokenizer.json."""
        from slipway.data.text.manifest import TOKENIZER_NAME

        return [text_of(config).dir / TOKENIZER_NAME]

    unlimited = ("data.tokenizer.vocab_size=${model.vocab_size}", "data.allow_large_models=true")

    def made_up(self, config: RunConfig) -> Dataset:
        """Return samples of random documents of equal length. Imports torch."""
        from slipway.data.text.made_up import MadeUp

        return MadeUp(text_of(config), config.training.seed)


KIND: DataKind = Text()


def _prepared(config: RunConfig, prepare: bool) -> "Manifest":
    from slipway.data.text import manifest
    from slipway.data.text.checks import changed_inputs
    from slipway.data.text.preparation import prepare as prepare_data

    data = text_of(config)
    if prepare and manifest.read(data.dir) is None:
        return prepare_data(data, progress=True)
    found = manifest.load(data)
    for change in changed_inputs(data, found) if prepare else ():
        print(f"{change}; training reads what was prepared", flush=True)
    return found


def _check_length(config: RunConfig, name: str, record: Any, wants_validation: bool) -> None:
    """Raise UserError unless each split that is read has at least one sample of this source."""
    from slipway.data.text.manifest import prefix
    from slipway.data.text.split import samples_per_epoch
    from slipway.data.text.tokens import find_split

    data = text_of(config)
    length = data.sequence_length
    for split in ("training", "validation") if wants_validation else ("training",):
        tokens = find_split(prefix(data, name), record, data.split, split).count
        if not samples_per_epoch(tokens, length):
            raise UserError(
                f"data.sources.{name}",
                f"of its {record.tokens} tokens are for {split} (data.split {list(data.split)}), below "
                f"data.sequence_length {length} + 1",
                value=tokens,
                use="a longer text, a larger share, a shorter "
                f"sequence{', validation.steps=0' if split == 'validation' else ''}",
            )
