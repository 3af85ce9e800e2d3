"""Samples of packed conversations as tensors. Imports torch; no sample depends on how many are read, or by whom.

A sample is one conversation after the other. Of each, all tokens but the last are read and all but the first are to be
predicted, so that no token is predicted by another conversation. The rest of the sample is padding: a document of its
own, made of token 0, whose loss does not count.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.chat import manifest
from slipway.data.chat.config import chat_of
from slipway.data.chat.manifest import SourceRecord
from slipway.data.kind import Split
from slipway.data.ledger import Draw
from slipway.data.open_file import OpenFile
from slipway.data.permutation import permuted
from slipway.data.split import SPLITS
from slipway.data.text.tokens import HEADER

PADDING = 0
"""The token that fills a sample up."""


class ChatSource:
    """One split of one source."""

    def __init__(self, prefix: str, record: SourceRecord, token_type: str, split: Split, key: str) -> None:
        """Open the files of a source. key: names the order of each epoch.

        Raises DataChanged if a file has another size than its record says.
        """
        self.dtype, self.key = np.dtype(token_type), key
        self.size = record.splits[split].samples
        self.first = sum(record.splits[before].samples for before in SPLITS[: SPLITS.index(split)])
        self.conversations = record.conversations
        self.tokens = OpenFile(Path(f"{prefix}.bin"), record.bin.bytes)
        self.loss = OpenFile(Path(f"{prefix}.loss"), record.loss.bytes)
        self.index = OpenFile(Path(f"{prefix}.idx"), record.idx.bytes)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return tokens, loss and the lengths of the conversations in sample `number` of the run.

        Tokens and loss are [sum of lengths], the lengths [conversations]; samples come in the order of their epoch.
        """
        epoch, place = divmod(number, self.size)
        k = self.first + permuted(place, self.size, f"{self.key}/{epoch}")
        offsets = HEADER.size + 4 * self.conversations
        begin, end = struct.unpack("<qq", self.index.read_bytes(offsets + 8 * self.conversations + 8 * k, 16))
        lengths = np.frombuffer(self.index.read_bytes(HEADER.size + 4 * begin, 4 * (end - begin)), "<i4")
        [offset] = struct.unpack("<q", self.index.read_bytes(offsets + 8 * begin, 8))
        count, size = int(lengths.sum()), self.dtype.itemsize
        tokens = np.frombuffer(self.tokens.read_bytes(offset, count * size), self.dtype)
        loss = np.frombuffer(self.loss.read_bytes(offset // size, count), np.uint8)
        return tokens, loss, lengths

    def close(self) -> None:
        """Close the source's files."""
        for file in (self.tokens, self.loss, self.index):
            file.close()


class Dataset:
    """The samples of one split of all sources."""

    on_host = frozenset({"document_starts"})  # fields that no GPU reads

    def __init__(self, sources: dict[str, ChatSource], length: int) -> None:
        self.sources, self.length = sources, length

    @property
    def sizes(self) -> dict[str, int]:
        """The samples of an epoch, by source."""
        return {name: source.size for name, source in self.sources.items()}

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Return the fields of slipway.data.tokens, with document_starts always.

        Raises DataChanged if a file has changed since it was opened.
        """
        return sample(*self.sources[draw.source][draw.number], self.length)

    def close(self) -> None:
        """Close the files of all sources."""
        for source in self.sources.values():
            source.close()


def sample(tokens: np.ndarray, loss: np.ndarray, lengths: np.ndarray, length: int) -> dict[str, Tensor]:
    """Return the sample that these conversations make, each field [length].

    tokens, loss: [sum of lengths]. lengths: tokens of each conversation.
    """
    ends = np.cumsum(lengths)
    reads, predicts = np.ones(len(tokens), bool), np.ones(len(tokens), bool)
    reads[ends - 1] = predicts[ends - lengths] = False
    places = lengths.astype(np.int64) - 1
    used = int(places.sum())
    starts = np.full(length, used, np.int64)
    starts[:used] = np.repeat(np.cumsum(places) - places, places)
    return {
        "tokens": _filled(tokens[reads], length, np.int64),
        "labels": _filled(tokens[predicts], length, np.int64),
        "loss_mask": _filled(loss[predicts], length, np.float32),
        "position_ids": torch.from_numpy(np.arange(length) - starts),
        "document_starts": torch.from_numpy(starts),
    }


def _filled(values: np.ndarray, length: int, dtype: type) -> Tensor:
    whole = np.full(length, PADDING, dtype)
    whole[: len(values)] = values
    return torch.from_numpy(whole)


def open_dataset(config: RunConfig, split: Split) -> Dataset:
    """Open a split of all sources that are drawn, and return it.

    Raises UserError if the data is not prepared, and DataChanged if it has changed since it was checked.
    """
    data = chat_of(config)
    found = manifest.load(data)
    return Dataset(
        {
            name: ChatSource(
                str(data.dir / name),
                found.sources[name],
                found.token_type,
                split,
                f"{config.training.seed}/{split}/{name}",
            )
            for name in data.weights
        },
        data.sequence_length,
    )
