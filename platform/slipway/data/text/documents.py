"""The documents of a part of a file, as UTF-8. Errors name the file and the line or byte that cannot be read."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from slipway.data.text.blocks import Part
from slipway.data.text.parquet import open_parquet
from slipway.data.text.streams import open_input
from slipway.errors import UserError

NO_TEXT = b""
"""What stands for a document without text: an empty string, or null."""


def read_documents(part: Part, text_key: str) -> Iterator[bytes]:
    """Yield the documents of a part in their order, with NO_TEXT for those without text."""
    if part.kind == "parquet":
        yield from _rows(part, text_key)
    elif part.kind == "text":
        data = _bytes_of(part)
        _decode(data, part.path, part.start)
        yield data
    else:
        yield from _lines(part, text_key)


def _bytes_of(part: Part) -> bytes:
    if part.data is not None:
        return part.data
    with open_input(part.path) as file:
        file.seek(part.start)
        data = file.read(part.stop - part.start)
    if len(data) < part.stop - part.start:
        raise UserError(
            part.path,
            f"was changed while it was being read: it ends at byte {part.start + len(data)}, but had at least "
            f"{part.stop} bytes before",
            do="run the same command again once nothing writes to it",
        )
    return data


def _decode(data: bytes, path: str, start: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            path, f"is not valid UTF-8 at byte {start + error.start}: {error.reason}", do="save it as UTF-8"
        ) from error


class Line(NamedTuple):
    """A line of JSON."""

    part: Part
    within: int
    """The line's number in its part, from 0."""
    text: str

    @property
    def place(self) -> str:
        """The file and the line's number, for people; the file is read up to the line."""
        return f"{self.part.path}, line {_line_number(self.part, self.within)}"

    def json(self) -> Any:
        """Return the value in the line. Raises UserError if it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise UserError(self.place, _reason(error), do="correct the line") from error


def read_lines(part: Part) -> Iterator[Line]:
    """Yield the lines of a part of JSON lines in their order, without blank ones."""
    start = part.start
    for i, line in enumerate(_bytes_of(part).split(b"\n")):
        if line and not line.isspace():
            yield Line(part, i, _decode(line, part.path, start))
        start += len(line) + 1


def _lines(part: Part, text_key: str) -> Iterator[bytes]:
    for line in read_lines(part):
        row = line.json()
        try:
            yield _text_of(row, text_key)
        except _NoText as error:
            raise UserError(line.place, str(error), do="correct the line, or set text_key") from error


class _NoText(ValueError):
    """A line holds no text of a document; the message follows the line's place."""


def _text_of(row: Any, text_key: str) -> bytes:
    if not isinstance(row, dict):
        raise _NoText(f"must be a JSON object, got {type(row).__name__} (JSON lines: a document per line)")
    if text_key not in row:
        raise _NoText(f"no text_key {text_key!r}, found {', '.join(map(repr, list(row)[:20])) or 'no keys'}")
    value = row[text_key]
    if value is None:
        return NO_TEXT
    if not isinstance(value, str):
        raise _NoText(f"{text_key!r} is {type(value).__name__}, not a string")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise _NoText(
            f"{text_key!r} contains half a surrogate pair, \\u{ord(value[error.start]):x}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):  # its message ends with where in the line it is
        return f"invalid JSON: {error.msg} at column {error.colno} (JSON lines: a document per line)"
    return f"invalid JSON: {error}"


def _line_number(part: Part, within: int) -> int:
    if part.data is not None:
        return part.first_line + within
    line, left = 1 + within, part.start
    with open_input(part.path) as file:
        while left and (data := file.read(min(left, 1 << 20))):
            line += data.count(b"\n")
            left -= len(data)
    return line


def _rows(part: Part, text_key: str) -> Iterator[bytes]:
    import pyarrow

    with open_parquet(part.path, text_key) as table:
        groups = list(range(part.start, part.stop))
        try:
            for rows in table.iter_batches(256, row_groups=groups, columns=[text_key], use_threads=False):
                for value in rows.column(0).to_pylist():
                    yield value.encode() if value else NO_TEXT
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                part.path, f"cannot be read as Parquet: {error}", do="replace it with a good copy"
            ) from error
        except UnicodeDecodeError as error:
            raise UserError(
                part.path,
                f"column {text_key!r} is not valid UTF-8: {error.reason}",
                do="write the column as UTF-8",
            ) from error
