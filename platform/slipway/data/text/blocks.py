"""Inputs cut into blocks: what one process encodes at a time, and what an interruption can cost.

Where documents begin and end does not depend on the blocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slipway.data.inputs import check_unchanged
from slipway.data.text.file_types import Kind
from slipway.data.text.inputs import InputFile
from slipway.data.text.parquet import open_parquet
from slipway.data.text.streams import Stream, open_stream
from slipway.errors import UserError

TEXT_DOCUMENT = 1 << 20
"""Bytes: a larger text file is several documents, cut at the first blank line after each so many bytes."""

SEARCHED = 1 << 16
"""Bytes in which that blank line is looked for; then a line's end, or a character's, has to do."""

LONGEST_LINE = 1 << 24
"""Bytes of a document in JSON lines, above which the file is refused: one is held in memory whole."""

_BLOCK_BYTES = (1 << 20, 1 << 23)  # least, most


@dataclass(frozen=True)
class Part:
    """A stretch of one file: bytes of its (uncompressed) text, or row groups."""

    path: str
    kind: Kind
    start: int
    stop: int
    data: bytes | None = None  # the stretch itself where the file is compressed
    first_line: int = 0  # its number, where `data` is given
    disk_bytes: int = 0


@dataclass(frozen=True)
class Block:
    """Consecutive parts of a source's files."""

    index: int
    parts: tuple[Part, ...]

    @property
    def disk_bytes(self) -> int:
        """The size on disk, compressed if the files are."""
        return sum(part.disk_bytes for part in self.parts)


def block_size(total: int) -> int:
    """Return the bytes of a block for inputs of `total` bytes.

    These are enough blocks for many processes, and not too many files.
    """
    return min(max(total // 1024, _BLOCK_BYTES[0]), _BLOCK_BYTES[1])


def cut_into_blocks(files: Iterable[InputFile], text_key: str, size: int) -> Iterator[Block]:
    """Yield blocks of about `size` bytes of text. Reads compressed files whole, others only at the cuts."""
    index, waiting, held = 0, [], 0
    for file in files:
        for part, text_bytes in _parts(file, text_key, size):
            waiting.append(part)
            held += text_bytes
            if held >= size:
                yield Block(index, tuple(waiting))
                index, waiting, held = index + 1, [], 0
    if waiting:
        yield Block(index, tuple(waiting))


def _parts(file: InputFile, text_key: str, size: int) -> Iterator[tuple[Part, int]]:
    """Yield parts of a file, each with the size of its text in bytes."""
    check_unchanged(file)
    if file.kind == "parquet":
        yield from _row_groups(file, text_key)
        return
    with open_stream(file) as stream:
        line, disk = 1, 0
        while length := (
            _text_length(stream) if file.kind == "text" else _lines_length(stream, size, file.path)
        ):
            start = stream.position
            data = stream.take(length)
            disk_bytes, disk = stream.disk_position - disk, stream.disk_position
            yield (
                Part(file.path, file.kind, start, start + length, data, line if data else 0, disk_bytes),
                length,
            )
            line += data.count(b"\n") if data else 0


def _text_length(stream: Stream) -> int:
    """Return the bytes of the document at the stream's position; 0 at the end."""
    window = stream.window(TEXT_DOCUMENT, SEARCHED)
    if not window:
        return len(stream.window(0, TEXT_DOCUMENT))
    for mark in (b"\n\n", b"\n"):
        found = window.find(mark)
        if found >= 0:
            return TEXT_DOCUMENT + found + len(mark)
    inside = 0
    while inside < len(window) and window[inside] & 0xC0 == 0x80:
        inside += 1
    return TEXT_DOCUMENT + inside


def _lines_length(stream: Stream, size: int, path: str) -> int:
    """Return the bytes up to the first line's end after `size` bytes; 0 at the end.

    Raises UserError if a line is longer than LONGEST_LINE.
    """
    length = size
    while window := stream.window(length, SEARCHED):
        found = window.find(b"\n")
        if found >= 0:
            return length + found + 1
        length += len(window)
        if length > size + LONGEST_LINE:
            raise UserError(
                path,
                f"a line near byte {stream.position + size} is longer than {LONGEST_LINE >> 20} MiB, the limit for a "
                "document in JSON lines",
                do="split the document, or give the file as plain text",
            )
    return length if length > size else len(stream.window(0, size))


def _row_groups(file: InputFile, text_key: str) -> Iterator[tuple[Part, int]]:
    with open_parquet(file.path, text_key) as table:
        metadata = table.metadata
        names = [metadata.schema.column(i).path for i in range(len(metadata.schema))]
        column = names.index(text_key)  # of the leaves, which may have the names of others
        groups = metadata.num_row_groups
        for i in range(groups):
            disk = file.size * (i + 1) // groups - file.size * i // groups
            part = Part(file.path, "parquet", i, i + 1, disk_bytes=disk)
            yield part, metadata.row_group(i).column(column).total_uncompressed_size
