"""The place of a chip in a shard: arithmetic alone, since all chips of a data set have one size.

A shard is a tar archive that webdataset and TerraMesh's tools read: of each chip the members NUMBER.npy, its pixels
[dates, bands, rows, columns] as little-endian int16, and NUMBER.json, where and when it was taken. All of them begin
at multiples of 512 bytes, so that a chip's offset is its place in the shard times the stride.
"""

import json
import struct
import tarfile
from functools import cached_property
from math import prod
from typing import NamedTuple

from slipway.data.imagery.chip import Date

BLOCK = 512
"""Bytes of a tar header, and the multiple to which a member's length is rounded up."""
END = 2 * BLOCK
"""Bytes of the zeros that end an archive."""
_DIGITS = 9


class _Sizes(NamedTuple):
    dates: int
    bands: int
    size: int


class Layout(_Sizes):
    """The geometry of chips, and the sizes that follow. dates, bands: how many; size: rows and columns."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the pixels: dates, bands, rows, columns."""
        return self.dates, self.bands, self.size, self.size

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a chip's pixels."""
        return 2 * prod(self.shape)

    @cached_property
    def npy_header(self) -> bytes:
        """The bytes before the pixels in NUMBER.npy (version 1.0 of numpy's format)."""
        text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {self.shape}, }}"
        length = _up(len(text) + 11, 64) - 10
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + text.ljust(length - 1).encode() + b"\n"

    @property
    def first(self) -> int:
        """Offset of the first chip's pixels."""
        return BLOCK + len(self.npy_header)

    @property
    def json_bytes(self) -> int:
        """Bytes that NUMBER.json fills, with spaces at its end. Depends on the number of dates alone."""
        return _up(384 + 16 * self.dates, BLOCK)

    @property
    def stride(self) -> int:
        """Bytes from one chip to the next."""
        pixels = _up(len(self.npy_header) + self.pixel_bytes, BLOCK)
        return BLOCK + pixels + BLOCK + self.json_bytes

    def offset(self, place: int) -> int:
        """Return the offset in bytes of the pixels of a shard's chip number `place`."""
        return self.first + place * self.stride

    def chips_in(self, shard_size: int) -> int:
        """Return how many chips a shard of about that many bytes holds, at least one."""
        return max(1, (shard_size - END) // self.stride)

    def shard_bytes(self, chips: int) -> int:
        """Return the size of a shard with so many chips, in bytes."""
        return chips * self.stride + END

    def before(self, number: int) -> bytes:
        """Return the bytes before a chip's pixels: the header of its member, and numpy's."""
        return _header(f"{number:0{_DIGITS}d}.npy", len(self.npy_header) + self.pixel_bytes) + self.npy_header

    def after(self, number: int, facts: bytes) -> bytes:
        """Return the bytes after a chip's pixels: padding, and the member with its facts."""
        padding = -(len(self.npy_header) + self.pixel_bytes) % BLOCK
        assert len(facts) == self.json_bytes, len(facts)
        return bytes(padding) + _header(f"{number:0{_DIGITS}d}.json", len(facts)) + facts

    def facts(
        self,
        dates: list[Date],
        latitude: float,
        longitude: float,
        epsg: int,
        transform: list[float],
    ) -> bytes:
        """Return the content of NUMBER.json: JSON, filled up with spaces to its fixed length."""
        text = json.dumps(
            {
                "dates": dates,
                "latitude": latitude,
                "longitude": longitude,
                "epsg": epsg,
                "transform": transform,
            }
        )
        return text.encode().ljust(self.json_bytes)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _header(name: str, size: int) -> bytes:
    """Return a member's header, in which nothing depends on when or by whom it is written."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)
