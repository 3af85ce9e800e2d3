"""One sample: a zip file with a group of Zarr arrays (version 2), read by zipfile, JSON and codecs.

https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html. A chunk that is missing holds the fill value alone.
"""

import io
import json
import math
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from slipway.data.imagery.chip import Date


class Bad(ValueError):
    """A sample that cannot be read; the message says why."""


@dataclass(frozen=True)
class Encoding:
    """The form in which a sample's `bands` are stored."""

    dtype: str
    shape: tuple[int, int, int, int]
    """The number of dates, bands, rows and columns."""
    dates_per_chunk: int
    compressor: str
    """The compressor's settings as JSON; `null` if there is none."""
    fill_value: str
    """A number as text: `nan` would not equal itself, and JSON has none."""

    @property
    def chunks(self) -> int:
        """The number of chunks in a sample."""
        return self.shape[0] // self.dates_per_chunk


@dataclass(frozen=True)
class Chunk:
    """The place of a chunk in the zip file; length 0 if it is missing."""

    offset: int
    length: int
    crc: int


@dataclass(frozen=True)
class Member:
    """The facts about a sample that an index stores."""

    encoding: Encoding
    chunks: tuple[Chunk, ...]
    dates: tuple[Date, ...]
    latitude: float
    longitude: float
    epsg: int
    transform: tuple[float, ...]
    scenes: tuple[str, ...]


def parse(data: bytes) -> Member:
    """Return the facts about a sample. Raises Bad if it is no Zarr group in a zip file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _Group(archive, data).member()
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        if isinstance(error, Bad):
            raise
        raise Bad(f"is no Zarr group of version 2 in a zip file: {error}") from error


class _Group:
    def __init__(self, archive: zipfile.ZipFile, data: bytes) -> None:
        self.archive, self.data, self.names = archive, data, set(archive.namelist())
        if ".zmetadata" in self.names:
            self.metadata = json.loads(archive.read(".zmetadata"))["metadata"]
        else:
            self.metadata = {
                name: json.loads(archive.read(name))
                for name in self.names
                if name.endswith((".zarray", ".zattrs"))
            }

    def member(self) -> Member:
        array = self.metadata.get("bands/.zarray")
        if array is None:
            raise Bad("has no array `bands`")
        encoding = _encoding(array)
        chunks = tuple(self.chunk(f"bands/{number}.0.0.0") for number in range(encoding.chunks))
        dates = self.dates()
        if len(dates) != encoding.shape[0]:
            raise Bad(f"has {encoding.shape[0]} dates of `bands`, and {len(dates)} of `time`")
        return Member(
            encoding=encoding,
            chunks=chunks,
            dates=dates,
            latitude=self.number("center_lat"),
            longitude=self.number("center_lon"),
            epsg=self.epsg(),
            transform=self.transform(),
            scenes=self.scenes(len(dates)),
        )

    def chunk(self, name: str) -> Chunk:
        if name not in self.names:
            return Chunk(0, 0, 0)
        info = self.archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise Bad(f"{name} is compressed by the zip file as well")
        # the local header's own lengths count (APPNOTE.TXT 4.3.7)
        local = self.data[info.header_offset : info.header_offset + 30]
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return Chunk(info.header_offset + 30 + names, info.compress_size, info.CRC)

    def array(self, name: str) -> np.ndarray | None:
        """Return a small array of one chunk; None if there is none. Raises Bad if it has more chunks."""
        meta = self.metadata.get(f"{name}/.zarray")
        if meta is None:
            return None
        shape, dtype = tuple(meta["shape"]), np.dtype(meta["dtype"])
        if dtype.hasobject:
            return None
        key = f"{name}/{'.'.join('0' * len(shape)) or '0'}"
        if key not in self.names:
            return np.full(shape, meta["fill_value"] or 0).astype(dtype)
        values = np.frombuffer(decoded(self.archive.read(key), json.dumps(meta["compressor"])), dtype)
        chunk = values.reshape(meta["chunks"] or ())
        if any(s > c for s, c in zip(shape, chunk.shape, strict=True)):
            raise Bad(f"has `{name}` in more than one chunk")
        return chunk[tuple(slice(length) for length in shape)]

    def number(self, name: str) -> float:
        """Return a single number; nan if there is none."""
        values = self.array(name)
        return math.nan if values is None or values.size != 1 else float(values.item())

    def dates(self) -> tuple[Date, ...]:
        values = self.array("time")
        if values is None:
            raise Bad("has no array `time`")
        unit, _, since = self.metadata.get("time/.zattrs", {}).get("units", "").partition(" since ")
        if values.dtype.kind == "M":
            values, unit = values.astype("datetime64[ns]").astype(np.int64), ""
        begin = datetime.fromisoformat(since.strip()).replace(tzinfo=UTC) if since else _EPOCH
        nanoseconds = _NANOSECONDS[unit.strip().rstrip("s")] if unit else 1
        return tuple(_date(begin, int(value) * nanoseconds) for value in values.reshape(-1))

    def epsg(self) -> int:
        """Return the EPSG number of the coordinates; 0 if it is not given."""
        values = self.array("crs")
        if values is None or values.size != 1:
            return 0
        digits = "".join(filter(str.isdigit, str(values.item())))
        return int(digits or 0)

    def transform(self) -> tuple[float, ...]:
        """Return the transform that follows from the centres of the first pixels; nan if they are not given."""
        axes = [self.array(name) for name in ("x", "y")]
        if any(axis is None or axis.size < 2 for axis in axes):
            return (math.nan,) * 6
        (x, y) = (np.asarray(axis, np.float64).reshape(-1) for axis in axes)
        a, e = x[1] - x[0], y[1] - y[0]
        return float(a), 0.0, float(x[0] - a / 2), 0.0, float(e), float(y[0] - e / 2)

    def scenes(self, dates: int) -> tuple[str, ...]:
        values = self.array("file_id")
        if values is None or values.size not in (1, dates):
            return ("",) * dates
        names = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.flat]
        return tuple(names * (dates if len(names) == 1 else 1))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = {
    "day": 86_400_000_000_000,
    "hour": 3_600_000_000_000,
    "minute": 60_000_000_000,
    "second": 1_000_000_000,
    "millisecond": 1_000_000,
    "microsecond": 1000,
    "nanosecond": 1,
}


def decoded(data: bytes, compressor: str) -> Any:
    """Return a chunk's bytes. compressor: its settings as JSON."""
    return codec(compressor).decode(data) if compressor != "null" else data


@lru_cache
def codec(compressor: str) -> Any:
    """Return the codec of a compressor that is configured in JSON; it has no state, so threads share it."""
    import numcodecs

    return numcodecs.get_codec(json.loads(compressor))


def _encoding(array: dict[str, Any]) -> Encoding:
    shape, chunks = tuple(array["shape"]), tuple(array["chunks"])
    if array.get("zarr_format") != 2 or array.get("filters") or array.get("order", "C") != "C":
        raise Bad("has `bands` that are no plain C-ordered array of Zarr's version 2")
    if len(shape) != 4 or chunks[1:] != shape[1:] or shape[0] % chunks[0]:
        raise Bad(f"has `bands` of shape {shape} in chunks of {chunks}: a chunk must hold whole dates")
    fill = array["fill_value"]
    return Encoding(
        dtype=str(np.dtype(array["dtype"]).newbyteorder("=")) if array["dtype"][0] == "<" else _byte(array),
        shape=shape,
        dates_per_chunk=chunks[0],
        compressor=json.dumps(array["compressor"], sort_keys=True),
        fill_value=repr(float(0 if fill is None else fill)),
    )


def _byte(array: dict[str, Any]) -> str:
    if array["dtype"] != "|u1":
        raise Bad(f"has `bands` of type {array['dtype']}")
    return "uint8"


def _date(begin: datetime, nanoseconds: int) -> Date:
    day = (begin + timedelta(microseconds=nanoseconds // 1000)).timetuple()
    return Date(day.tm_year, day.tm_yday)
