"""Files as text with a position, plain or compressed: a window can look ahead before bytes are taken."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

from slipway.data.text.inputs import InputFile
from slipway.errors import UserError

_READ_BYTES = 1 << 16  # compressed bytes per read
_ZSTD_WINDOW = (
    1 << 31
)  # bytes: the most that the format's own program makes; memory is taken as frames need it


class Stream(Protocol):
    """Uncompressed bytes from the current position on."""

    position: int

    @property
    def disk_position(self) -> int:
        """The bytes of the file on disk up to the position, approximately."""
        ...

    def window(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` after the position on; fewer at the end of the file."""
        ...

    def take(self, size: int) -> bytes | None:
        """Move on by `size` bytes; return them if only the stream has them (None: read the file)."""
        ...


@contextmanager
def open_stream(file: InputFile) -> Iterator[Stream]:
    """Yield a file's stream, after the byte order mark if there is one. Raises UserError if it cannot be read."""
    with open_input(file.path) as raw:
        stream = _Compressed(raw, file) if file.compression else _Plain(raw)
        if stream.window(0, 3) == b"\xef\xbb\xbf":
            stream.take(3)
        yield stream


@contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Yield a file to read from. Raises UserError for any OSError inside."""
    try:
        with open(path, "rb") as raw:
            yield raw
    except OSError as error:
        raise UserError(
            path,
            f"cannot be read: {error.strerror or error}",
            do="make it readable, or remove it from data.sources",
        ) from error


class _Plain:
    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.position = 0

    @property
    def disk_position(self) -> int:
        return self.position

    def window(self, offset: int, size: int) -> bytes:
        self.raw.seek(self.position + offset)
        return self.raw.read(size)

    def take(self, size: int) -> bytes | None:
        self.position += size
        return None


class _Compressed:
    def __init__(self, raw: BinaryIO, file: InputFile) -> None:
        self.raw = raw
        self.chunks = (_gunzip if file.compression == "gz" else _unzstd)(raw, file.path)
        self.buffer = bytearray()
        self.position = 0

    @property
    def disk_position(self) -> int:
        return self.raw.tell()

    def window(self, offset: int, size: int) -> bytes:
        while len(self.buffer) < offset + size:
            chunk = next(self.chunks, None)
            if chunk is None:
                break
            self.buffer += chunk
        return bytes(self.buffer[offset : offset + size])

    def take(self, size: int) -> bytes | None:
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.position += size
        return taken


def _gunzip(raw: BinaryIO, path: str) -> Iterator[bytes]:
    import gzip
    import zlib

    try:
        with gzip.GzipFile(fileobj=raw) as unzipped:
            while chunk := unzipped.read(4 * _READ_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            path, f"cannot be decompressed (gzip): {error}", do="replace it with a complete copy"
        ) from error


def _unzstd(raw: BinaryIO, path: str) -> Iterator[bytes]:
    import zstandard

    # decompressobj, since stream_reader takes a truncated file for a whole one.
    frame = None
    try:
        while data := raw.read(_READ_BYTES):
            while data:
                frame = frame or zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    except zstandard.ZstdError as error:
        raise UserError(
            path, f"cannot be decompressed (zstd): {error}", do="replace it with a complete copy"
        ) from error
    if frame is not None:
        raise UserError(
            path,
            "cannot be decompressed (zstd): the file ends within a frame",
            do="replace it with a complete copy",
        )
