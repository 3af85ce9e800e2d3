"""Samples of prepared data as tensors. Imports torch; no sample depends on how many are read, or by whom.

The tokens of a source's split, one document after the other, are cut into samples of sequence_length + 1 that
overlap by one token: sample k is tokens [kL, kL + L + 1). Each epoch has an order of its own.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.data.kind import Split
from slipway.data.ledger import Draw
from slipway.data.permutation import permuted
from slipway.data.text import manifest
from slipway.data.text.config import Config as Data
from slipway.data.text.config import text_of
from slipway.data.text.split import samples_per_epoch
from slipway.data.text.tokens import Stretch, TokenFile, find_split


class TokenSource:
    """One split of one source."""

    def __init__(self, file: TokenFile, stretch: Stretch, length: int, key: str) -> None:
        """Take a stretch of a file as a split.

        length: tokens that a sample trains on. key: names the order of each epoch.
        """
        self.file, self.stretch, self.length, self.key = file, stretch, length, key
        self.size = samples_per_epoch(stretch.count, length)

    def __getitem__(self, number: int) -> np.ndarray:
        """Return the tokens of sample `number` of the run, [length + 1], in the order of its epoch.

        Raises DataChanged if the file has changed since it was opened.
        """
        epoch, place = divmod(number, self.size)
        k = permuted(place, self.size, f"{self.key}/{epoch}")
        return self.file.read(self.stretch.first + k * self.length, self.length + 1)


class Dataset:
    """The samples of one split of all sources."""

    on_host = frozenset({"document_starts"})  # fields that no GPU reads

    def __init__(self, sources: dict[str, TokenSource], length: int, settings: Data, end: int) -> None:
        """Take the sources of a split. settings: what is done where documents meet. end: the end-of-document token."""
        self.sources, self.settings, self.end = sources, settings, end
        self.loss_mask = torch.ones(length)
        self.position_ids = torch.arange(length)

    @property
    def sizes(self) -> dict[str, int]:
        """The samples of an epoch, by source."""
        return {name: source.size for name, source in self.sources.items()}

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Return tokens, labels, position_ids (int64) and loss_mask (fp32), each [sequence_length].

        With data.reset_attention_mask also document_starts (int64): where each token's document begins. Raises
        DataChanged if a file has changed since it was opened.
        """
        return self.sample(torch.from_numpy(self.sources[draw.source][draw.number].astype(np.int64)))

    def sample(self, text: Tensor) -> dict[str, Tensor]:
        """Return the sample of these tokens, [sequence_length + 1] int64."""
        tokens, asked = text[:-1], self.settings
        sample = {
            "tokens": tokens,
            "labels": text[1:],
            "loss_mask": self.loss_mask,
            "position_ids": self.position_ids,
        }
        if asked.reset_attention_mask or asked.reset_position_ids:
            starts = document_starts(tokens, self.end)
            if asked.reset_attention_mask:
                sample["document_starts"] = starts
            if asked.reset_position_ids:
                sample["position_ids"] = self.position_ids - starts
        if asked.eod_mask_loss:
            sample["loss_mask"] = (tokens != self.end).float()
        return sample

    def close(self) -> None:
        """Close the files of all sources."""
        for source in self.sources.values():
            source.file.close()


def document_starts(tokens: Tensor, end: int) -> Tensor:
    """Return for every token the position of its document's first token, [s] int64.

    The sample's first token begins a document.
    """
    ends = torch.nonzero(tokens[:-1] == end)[:, 0]
    starts = torch.zeros_like(tokens)
    starts[ends + 1] = ends + 1
    return starts.cummax(0).values


def open_dataset(config: RunConfig, split: Split) -> Dataset:
    """Open a split of all sources that are drawn, and return it.

    Raises UserError if the data is not prepared, and DataChanged if it has changed since it was checked.
    """
    data = text_of(config)
    found = manifest.load(data)
    sources, length = {}, data.sequence_length
    for name, source in data.sources.items():
        if not source.weight:
            continue
        prefix, record = manifest.prefix(data, name), found.sources[name]
        stretch = find_split(prefix, record, data.split, split)
        file = TokenFile(Path(f"{prefix}.bin"), stretch.dtype, record.bin.bytes)
        key = f"{config.training.seed}/{split}/{name}"
        sources[name] = TokenSource(file, stretch, length, key)
    return Dataset(sources, length, data, found.end_of_document_id)
