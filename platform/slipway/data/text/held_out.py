"""Texts that a model is measured on: files, or the run's validation split, as tokens and as amounts of text."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from slipway.config.schema import RunConfig
from slipway.data.held_out import HeldOut, Wanted
from slipway.data.text import manifest
from slipway.data.text.blocks import cut_into_blocks
from slipway.data.text.config import Source, text_of
from slipway.data.text.documents import read_documents
from slipway.data.text.inputs import InputFile, find_inputs
from slipway.data.text.passages import Passages, Rules, Text, count_words, measures
from slipway.data.text.split import document_counts
from slipway.data.text.tokens import find_split
from slipway.data.text.vocabulary import vocabulary_of
from slipway.data.tokens import tokens_of
from slipway.errors import UserError

_AT_ONCE = 1 << 20
"""Bytes of text that are encoded, or tokens that are decoded, at once."""
ALL = "all"
"""The name of several entries together."""


def read(config: RunConfig, wanted: Wanted) -> list[Passages]:
    """Return the passages that are wanted. Raises UserError if a file cannot be read or holds no text."""
    data = tokens_of(config)
    stride = wanted.stride or data.sequence_length
    vocabulary = vocabulary_of(config)
    tokenizer, end_mark = vocabulary.tokenizer, vocabulary.end_of_document
    if end_mark is None:
        raise UserError(
            vocabulary.path,
            "has no end mark, which has to precede each document",
            do="use a tokenizer with an end mark (data.tokenizer.end_of_document)",
        )
    texts = list(
        _files(wanted, tokenizer, end_mark) if wanted.files else _validation(config, wanted, tokenizer)
    )
    rules = Rules(data.sequence_length, stride, end_mark, wanted.end_marks, bool(data.apart))
    passages = [Passages(text, rules) for text in texts]
    for one in passages:
        if not len(one):
            where = "files" if wanted.files else "data.split"
            raise UserError(
                where, "holds no text to measure a model on", value=one.what, do="give files with text"
            )
    return passages


def told(parts: Sequence[HeldOut], losses: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return the measures of each part, and of all parts together if there are several."""
    amounts = [(one.predicted, one.text.bytes, one.text.words) for one in parts if isinstance(one, Passages)]
    assert len(amounts) == len(parts) == len(losses)
    by_part = {one.what: measures(loss, *of) for one, loss, of in zip(parts, losses, amounts, strict=True)}
    if len(parts) > 1:
        tokens, size, words = map(sum, zip(*amounts, strict=True))
        by_part[ALL] = measures(sum(losses), tokens, size, words)
    return by_part


def _files(wanted: Wanted, tokenizer: Any, end_mark: int) -> Iterator[Text]:
    from slipway.data.text.fast_bpe.encode import encode_long, make_encoder
    from slipway.data.text.long_documents import LONGEST_PIECE
    from slipway.data.text.tokenizer import library_errors

    encoder = make_encoder(tokenizer, end_mark)
    for entry in wanted.files:
        tokens: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        size = words = 0
        for batch in _batches(islice(_documents(entry, wanted.text_key), wanted.limit)):
            with library_errors(entry, "the tokenizer cannot encode this text"):
                long = len(batch) == 1 and len(batch[0]) > LONGEST_PIECE
                encoded = encode_long(encoder, batch[0]) if long else encoder.encode(batch)
            tokens.append(encoded[0])
            lengths.append(encoded[1])
            size += sum(map(len, batch))
            words += sum(count_words(one.decode()) for one in batch)
        if not tokens:
            raise UserError("files", "holds no documents with text", value=entry, do="give files with text")
        yield Text(_name(entry), np.concatenate(tokens), np.concatenate(lengths), size, words)


def found(entry: str, text_key: str) -> list[InputFile]:
    """Return the files of an entry. Raises UserError if they are missing or have no readable type."""
    with _named("files"):
        return find_inputs("files", Source(inputs=[entry], text_key=text_key))


def _documents(entry: str, text_key: str) -> Iterator[bytes]:
    """Yield the documents of an entry that have text, in the order in which a source's are read."""
    for block in cut_into_blocks(found(entry, text_key), text_key, _AT_ONCE):
        for part in block.parts:
            yield from filter(None, read_documents(part, text_key))


def _batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    held = 0
    for document in documents:
        if batch and held + len(document) > _AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(document)
        held += len(document)
    if batch:
        yield batch


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the field `path` in a UserError, in place of a source of the training's data."""
    try:
        yield
    except UserError as error:
        raise (error.replaced(path=path) if error.path.startswith("data.sources.") else error) from None


def _name(entry: str) -> str:
    """Return the name of an entry's file or folder, for people."""
    return os.path.basename(entry.rstrip("/")) or entry


def _validation(config: RunConfig, wanted: Wanted, tokenizer: Any) -> Iterator[Text]:
    """Yield the validation split of each source that is drawn, document by document.

    The amount of text comes from its decoded tokens, which are exactly what was encoded if the tokenizer changes
    nothing (byte-level ones do not). Raises UserError if the data is no text, or is not prepared.
    """
    if config.data.kind != "text":
        raise UserError(
            "files",
            f"is missing, and the validation split of data.kind={config.data.kind} is not text",
            use="--files FILE",
        )
    data, prepared = text_of(config), manifest.load(text_of(config))
    for name in config.data.weights:
        record, prefix = prepared.sources[name], manifest.prefix(data, name)
        if not document_counts(record.documents, data.split)[1]:
            raise UserError(
                "data.split",
                f"gives validation no documents of data.sources.{name}",
                value=list(data.split),
                use="files that the model was not trained on (--files)",
            )
        stretch = find_split(prefix, record, data.split, "validation")
        tokens = np.memmap(
            Path(f"{prefix}.bin"),
            stretch.dtype,
            "r",
            offset=stretch.first * stretch.dtype.itemsize,
            shape=(stretch.count,),
        )
        ends = np.flatnonzero(tokens == prepared.end_of_document_id)[: wanted.limit] + 1
        tokens, lengths = tokens[: ends[-1]], np.diff(ends, prepend=0)
        size = words = 0
        first = 0
        while first < len(ends):
            start = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, start + _AT_ONCE, side="right")))
            starts = [int(ends[i - 1]) if i else 0 for i in range(first, last)]
            ids = [tokens[a : ends[i] - 1].tolist() for i, a in zip(range(first, last), starts, strict=True)]
            for text in tokenizer.decode_batch(ids, skip_special_tokens=False):
                size += len(text.encode())
                words += count_words(text)
            first = last
        yield Text(f"{name}, validation", tokens, lengths, size, words)
