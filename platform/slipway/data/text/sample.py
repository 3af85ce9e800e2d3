"""A bounded sample of the sources, to train a tokenizer on: the same for the same files."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from slipway.data.text.blocks import LONGEST_LINE, SEARCHED, Part, cut_into_blocks
from slipway.data.text.config import Source
from slipway.data.text.documents import read_documents
from slipway.data.text.inputs import InputFile
from slipway.data.text.streams import open_input

_STRETCHES = 512


def sample_size(vocab_size: int) -> int:
    """Return the bytes of text that are enough for a vocabulary of this size."""
    return min(max(16 << 20, vocab_size * 2048), 256 << 20)


def sample_documents(
    files: Mapping[str, list[InputFile]], sources: Mapping[str, Source], size: int
) -> Iterator[str]:
    """Yield documents of about `size` bytes in total, from evenly spaced places of all sources.

    Yields everything if the files are smaller. From a compressed file its beginning is taken.
    """
    total = sum(file.size for of_source in files.values() for file in of_source)
    before = 0
    for name, of_source in files.items():
        for file in of_source:
            if total <= size:
                unpacks = file.compression or file.kind == "parquet"
                share, stretches = (size * file.size // total if unpacks else size), 1
            else:
                # the stretches whose middle (i + 1/2) total / n lies within this file
                first = -(-(2 * before * _STRETCHES - total) // (2 * total))
                last = -(-(2 * (before + file.size) * _STRETCHES - total) // (2 * total))
                stretches = max(last, 0) - max(first, 0)
                share = stretches * (size // _STRETCHES)
            before += file.size
            if stretches:
                yield from _from_file(file, sources[name].text_key, share, stretches)


def _from_file(file: InputFile, text_key: str, share: int, stretches: int) -> Iterator[str]:
    if file.compression or file.size <= share:
        parts = (part for block in cut_into_blocks([file], text_key, 1 << 20) for part in block.parts)
        yield from _up_to(parts, text_key, share)
    elif file.kind == "parquet":
        yield from _spread_row_groups(file, text_key, share, stretches)
    else:
        read = 0
        for i in range(stretches):
            part = _stretch(file, (2 * i + 1) * file.size // (2 * stretches), share // stretches)
            if part.start >= read:  # a line can be longer than the way to the next stretch
                yield from _up_to([part], text_key, share // stretches)
                read = part.stop


def _spread_row_groups(file: InputFile, text_key: str, share: int, stretches: int) -> Iterator[str]:
    parts = [part for block in cut_into_blocks([file], text_key, 1) for part in block.parts]
    count = min(stretches, len(parts))
    for i in range(count):
        yield from _up_to([parts[(2 * i + 1) * len(parts) // (2 * count)]], text_key, share // count)


def _stretch(file: InputFile, start: int, size: int) -> Part:
    """Return whole lines of a plain file from `start` on, or whole characters of a text without lines."""
    longest = SEARCHED if file.kind == "text" else LONGEST_LINE
    with open_input(file.path) as opened:
        begin = _after_line(opened, start, longest)
        stop = _after_line(opened, min(begin + size, file.size), longest)
        return Part(file.path, file.kind, begin, stop)


def _after_line(opened: BinaryIO, position: int, longest: int) -> int:
    """Return where the first line after a position ends, or a character if the line is longer."""
    opened.seek(position)
    line = opened.readline(longest)
    if len(line) < longest or line.endswith(b"\n"):
        return position + len(line)
    while (byte := opened.read(1)) and byte[0] & 0xC0 == 0x80:
        line += byte
    return position + len(line)


def _up_to(parts: Iterator[Part] | list[Part], text_key: str, size: int) -> Iterator[str]:
    """Yield documents of `size` bytes in total, the last one cut."""
    for part in parts:
        for document in read_documents(part, text_key):
            yield document[:size].decode(errors="ignore")
            size -= len(document)
            if size <= 0:
                return
