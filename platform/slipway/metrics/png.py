"""Pictures as PNG, with a caption inside: PNG specification, third edition (W3C 2025), by zlib alone."""

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"Description"  # of section 11.3.3.1's registered ones
_HEAD = _KEYWORD + b"\0" + b"\0\0" + b"\0" + b"\0"  # not compressed, no language, not translated
_LEVEL = 6


def encode(pixels: "np.ndarray", caption: str) -> bytes:
    """Return the file of uint8 [height, width, 3] (red, green, blue), losslessly."""
    height, width, channels = pixels.shape
    assert channels == 3 and pixels.dtype == "uint8", (pixels.shape, pixels.dtype)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # filter 0: as they are
    return SIGNATURE + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"iTXt", _HEAD + caption.encode()),
            (b"IDAT", zlib.compress(rows, _LEVEL)),
            (b"IEND", b""),
        )
    )


def caption(content: bytes) -> str:
    """Return the caption in a file of `encode`'s. Raises ValueError where the file is not whole, or another's."""
    if not content.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    at, found = len(SIGNATURE), None
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if kind == b"iTXt" and body.startswith(_HEAD):
            found = body.removeprefix(_HEAD).decode()
        if kind == b"IEND" and found is not None:
            return found
        at += 12 + length
    raise ValueError("it has no end" if found is not None else "it has no caption")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
