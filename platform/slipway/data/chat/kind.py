"""The kind `chat` without torch: its preparation, the meaning of its samples, and the paths of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.data.chat.config import chat_of
from slipway.data.files import FileRecord
from slipway.data.kind import DataKind, Dataset, Split
from slipway.data.split import check_shares
from slipway.data.text.measured import MeasuredText
from slipway.errors import UserError


class Chat(MeasuredText):
    """The kind of data `chat`, whose loss on text can be measured."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError if a split that is read has no share."""
        check_shares(chat_of(config).split, config.validation.steps)

    def prepare(self, config: RunConfig, progress: bool) -> str:
        """Tokenize and pack the sources into data.dir unless that is done; return a summary of what is prepared.

        An interrupted preparation continues.
        """
        from slipway.data.chat.preparation import prepare
        from slipway.data.chat.summary import summary

        data = chat_of(config)
        check_shares(data.split, 0)  # which is part of what is prepared
        return summary(data, prepare(data, progress))

    def make_ready(self, config: RunConfig, prepare: bool) -> None:
        """Raise UserError unless the data is prepared and each split that is read has samples of every source.

        prepare: prepare the data first if there is none.
        """
        from slipway.data.chat import manifest
        from slipway.data.chat.preparation import changed_inputs
        from slipway.data.chat.preparation import prepare as prepare_data

        data = chat_of(config)
        if prepare and manifest.read(data.dir) is None:
            found = prepare_data(data, progress=True)
        else:
            found = manifest.load(data)
            for change in changed_inputs(data, found) if prepare else ():
                print(f"{change}; training reads what was prepared", flush=True)
        for split in ("training", "validation") if config.validation.steps else ("training",):
            for name in data.weights:
                if not found.sources[name].splits[split].samples:
                    raise UserError(
                        "data.split",
                        f"gives none of the {found.sources[name].conversations} conversations of data.sources.{name} "
                        f"to {split}",
                        value=list(data.split),
                        use="a larger share, or more conversations",
                        do="set validation.steps=0" if split == "validation" else "",
                    )

    def traits(self, config: RunConfig) -> Mapping[str, Any]:
        """Return vocab_size, the entries of the tokenizer."""
        from slipway.data.chat import manifest

        return {"vocab_size": manifest.load(chat_of(config)).tokenizer.entries}

    def facts(self, config: RunConfig, source: str) -> dict[str, Any]:
        """Return everything but seed and name that the meaning of a source's sample numbers depends on."""
        from slipway.data.chat import manifest

        data = chat_of(config)
        found = manifest.load(data)
        record = found.sources[source]
        return {
            "data.sequence_length": data.sequence_length,
            "data.split": list(data.split),
            "the checksum of its tokens": record.bin.sha256,
            "the checksum of its index": record.idx.sha256,
            "the checksum of its loss mask": record.loss.sha256,
            "the checksum of tokenizer.json": found.tokenizer.file.sha256,
            "the checksum of chat_template.jinja": found.template.file.sha256,
        }

    def files(self, config: RunConfig, source: str) -> dict[Path, FileRecord]:
        """Return the source's .bin, .idx and .loss with their records."""
        from slipway.data.chat import manifest

        data = chat_of(config)
        record = manifest.load(data).sources[source]
        return {data.dir / f"{source}{end}": getattr(record, end[1:]) for end in manifest.ENDS}

    def open(self, config: RunConfig, split: Split, fields: frozenset[str] | None = None) -> Dataset:
        """Open a split of the sources that are drawn, and return it. Imports torch.

        All fields are made of the same tokens: leaving out those that are not needed would save nothing.
        """
        from slipway.data.chat.dataset import open_dataset

        return open_dataset(config, split)

    def folders(self, config: RunConfig) -> dict[str, Path]:
        """Return the folder of the prepared data."""
        return {"data.dir": chat_of(config).dir}

    def written(self, config: RunConfig) -> list[Path]:
        """Return the paths of manifest.json and of each source's files."""
        from slipway.data.chat.manifest import ENDS

        data = chat_of(config)
        names = (f"{name}{end}" for name in data.sources for end in ENDS)
        return [data.dir / name for name in ("manifest.json", *names)]

    def tokenizer(self, config: RunConfig) -> list[Path]:
        """Return the paths of tokenizer.json and of the files that belong to it."""
        from slipway.data.chat.tokenizer import NAMES, SETTINGS, TEMPLATE, TOKENIZER

        return [chat_of(config).dir / name for name in (TOKENIZER, SETTINGS, NAMES, TEMPLATE)]


KIND: DataKind = Chat()
