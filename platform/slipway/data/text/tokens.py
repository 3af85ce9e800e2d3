"""A source's training, validation and test tokens: their places in its .bin, and reading them. No torch."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slipway.data.kind import Split
from slipway.data.open_file import OpenFile
from slipway.data.split import SPLITS
from slipway.data.text.manifest import SourceRecord
from slipway.data.text.split import document_counts
from slipway.errors import UserError

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")  # magic, version, type of the tokens, sequences, documents + 1
TYPES = {8: np.dtype("<u2"), 4: np.dtype("<i4")}  # megatron.core.datasets.indexed_dataset.DType


class Stretch(NamedTuple):
    """Tokens of one split: `count` from token `first` of the .bin on."""

    first: int
    count: int
    dtype: np.dtype


def find_split(prefix: str, record: SourceRecord, split: tuple[float, float, float], which: Split) -> Stretch:
    """Return where the tokens of a split are, by the source's .idx.

    Raises UserError if the .idx cannot be read, or is not what the record says.
    """
    path = Path(f"{prefix}.idx")
    counts = document_counts(record.documents, split)
    position = SPLITS.index(which)
    begin = sum(counts[:position])
    try:
        with open(path, "rb") as file:
            dtype, sequences = _read_header(file.read(HEADER.size), path, record)

            def first_token(document: int) -> int:
                """Return the first token of a document.

                A .idx holds int32 lengths and int64 byte offsets of sequences, then int64 first sequences of documents.
                """
                if document == record.documents:
                    return record.tokens
                [sequence] = _integers(file.fileno(), HEADER.size + 12 * sequences + 8 * document)
                [offset] = _integers(file.fileno(), HEADER.size + 4 * sequences + 8 * sequence)
                return offset // dtype.itemsize

            first, end = first_token(begin), first_token(begin + counts[position])
    except (OSError, struct.error) as error:
        raise UserError(
            "data.dir",
            f"cannot be read: {error}",
            value=path,
            do="make it readable, or remove its folder and run `slipway data` again",
        ) from None
    if not 0 <= first <= end <= record.tokens:
        raise _wrong(path, f"documents end at tokens {first} and {end} of {record.tokens}")
    return Stretch(first, end - first, dtype)


def _read_header(header: bytes, path: Path, record: SourceRecord) -> tuple[np.dtype, int]:
    """Return the type of the tokens and the number of sequences. Raises UserError if the header is wrong."""
    magic, version, code, sequences, documents = HEADER.unpack(header)
    if magic != MAGIC or version != 1 or code not in TYPES:
        raise _wrong(path, "it does not begin as an index of uint16 or int32 tokens")
    dtype = TYPES[code]
    if documents != record.documents + 1 or record.tokens * dtype.itemsize != record.bin.bytes:
        raise _wrong(
            path,
            f"{documents - 1} documents in tokens of {dtype.itemsize} bytes, where the manifest has "
            f"{record.documents} documents and {record.tokens} tokens in {record.bin.bytes} bytes",
        )
    return dtype, sequences


def _integers(descriptor: int, offset: int) -> tuple[int, ...]:
    return struct.unpack("<q", os.pread(descriptor, 8, offset))


def _wrong(path: Path, what: str) -> UserError:
    return UserError(
        "data.dir",
        f"is not the index of its source: {what}",
        value=path,
        do=f"remove {path.parent} and run `slipway data`",
    )


class TokenFile(OpenFile):
    """An open .bin. Threads may share it."""

    def __init__(self, path: Path, dtype: np.dtype, size: int) -> None:
        """Open a .bin that must have `size` bytes.

        Raises DataChanged if it has another size, OSError if it cannot be opened.
        """
        super().__init__(path, size)
        self.dtype = dtype

    def read(self, first: int, count: int) -> np.ndarray:
        """Return `count` tokens [count] from token `first` on.

        Raises DataChanged if the file has changed since it was opened.
        """
        size = self.dtype.itemsize
        return np.frombuffer(self.read_bytes(first * size, count * size), self.dtype)
