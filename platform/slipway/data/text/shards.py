"""A block's tokens on disk until all blocks are done: there as a whole, or not there.

Layout: tokens, lengths of the documents (int32), then counts and a mark at the very end.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

_TAIL = struct.Struct("<QQQQ8s")
_MARK = b"SLIPSHD1"


@dataclass(frozen=True)
class Counts:
    """The amounts in a block or a source."""

    documents: int = 0
    tokens: int = 0
    text_bytes: int = 0  # UTF-8 bytes of the documents
    without_text: int = 0  # documents skipped because they had no text

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.documents + other.documents,
            self.tokens + other.tokens,
            self.text_bytes + other.text_bytes,
            self.without_text + other.without_text,
        )


class ShardWriter:
    """Writes one shard, which gets its name when all of it is on disk."""

    def __init__(self, path: Path, dtype: type) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.dtype = dtype
        self.lengths: list[np.ndarray] = []
        self.counts = Counts()

    def __enter__(self) -> Self:
        self.file = open(self.partial, "wb")
        return self

    def add(self, tokens: np.ndarray, lengths: np.ndarray, counts: Counts) -> None:
        """Append documents: their tokens [tokens], and how many of them each document has [documents]."""
        assert tokens.dtype == self.dtype and len(tokens) == lengths.sum()
        self.file.write(tokens.tobytes())
        self.lengths.append(lengths.astype(np.int32, copy=False))
        self.counts += counts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for lengths in self.lengths:
                self.file.write(lengths.tobytes())
            c = self.counts
            self.file.write(_TAIL.pack(c.documents, c.tokens, c.text_bytes, c.without_text, _MARK))
            self.file.flush()
            os.fsync(self.file.fileno())
        self.file.close()
        if error is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink()


def read_counts(path: Path, dtype: type) -> Counts | None:
    """Return the counts of a shard; None if there is no whole one."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - _TAIL.size, 0))
            *counts, mark = _TAIL.unpack(file.read())
    except (FileNotFoundError, struct.error):
        return None
    found = Counts(*counts)
    whole = found.tokens * np.dtype(dtype).itemsize + found.documents * 4 + _TAIL.size
    return found if mark == _MARK and size == whole else None


def read_tokens(path: Path, counts: Counts, dtype: type, chunk: int = 1 << 20) -> Iterator[bytes]:
    """Yield the bytes of a shard's tokens, `chunk` at a time."""
    left = counts.tokens * np.dtype(dtype).itemsize
    with open(path, "rb") as file:
        while left:
            data = file.read(min(left, chunk))
            assert data, path
            left -= len(data)
            yield data


def read_lengths(path: Path, counts: Counts, dtype: type) -> np.ndarray:
    """Return the number of tokens in each document, [documents] int32."""
    offset = counts.tokens * np.dtype(dtype).itemsize
    return np.fromfile(path, np.int32, counts.documents, offset=offset)
