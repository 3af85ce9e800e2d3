"""The facts about each chip besides its pixels: one table for each source and split, by column.

A .npz file (numpy's arrays in a zip archive, without pickle), so that training reads the columns that it needs, and
people all others with numpy alone. N rows, in the order of the chips:

dates      int16 [N, dates, 2]: year, day of year
latitude, longitude  float64 [N], degrees, of the centre
epsg       int32 [N], transform float64 [N, 6]: see Chip
valid, cloudy        float32 [N, dates]: shares of the pixels
check      uint32 [N]: of the pixels, see `check_of`
place      bytes [N], scenes bytes [N, dates]: UTF-8

Parts of a preparation (see slipway.data.imagery.shards) have three columns more, int64 [N, bands], over the pixels
that are not NODATA: count, sum, squares.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from slipway.data.imagery.chip import NODATA, Chip, Date
from slipway.data.imagery.layout import Layout
from slipway.files import whole

Columns = Mapping[str, np.ndarray]

SUMS = ("count", "sum", "squares")
_SECTOR = 4096  # bytes


def check_of(pixels: np.ndarray | memoryview) -> int:
    """Return a checksum of pixels of any shape, in C order.

    It is the CRC-32 of the sums of their sectors, taken as 64-bit numbers modulo 2^64. Wrong, lost and misplaced
    sectors are found for a twentieth of the processor time of a CRC of all bytes.
    """
    data = np.frombuffer(pixels, np.uint8)
    whole_sectors = len(data) // _SECTOR * _SECTOR
    sums = np.add.reduce(data[:whole_sectors].view("<u8").reshape(-1, _SECTOR // 8), axis=1, dtype=np.uint64)
    return zlib.crc32(data[whole_sectors:].data, zlib.crc32(sums.data))


def sums_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number of measured pixels, their sum and that of their squares, by band: int64 [bands], exact."""
    by_band = pixels.swapaxes(0, 1).reshape(pixels.shape[1], -1)
    valid = by_band != NODATA
    values = np.where(valid, by_band, np.int16(0)).astype(np.int64)
    return valid.sum(axis=1), values.sum(axis=1), np.square(values).sum(axis=1)


def of_chips(chips: Sequence[Chip], layout: Layout) -> dict[str, np.ndarray]:
    """Return the table of a part, with arrays [chips, ...], without the columns that `check_of` and `sums_of` make."""
    dates, count = layout.dates, len(chips)
    return {
        "dates": np.array([chip.dates for chip in chips], np.int16).reshape(count, dates, 2),
        "latitude": np.array([chip.latitude for chip in chips], np.float64),
        "longitude": np.array([chip.longitude for chip in chips], np.float64),
        "epsg": np.array([chip.epsg for chip in chips], np.int32),
        "transform": np.array([chip.transform for chip in chips], np.float64).reshape(count, 6),
        "valid": np.array([chip.valid for chip in chips], np.float32).reshape(count, dates),
        "cloudy": np.array([chip.cloudy for chip in chips], np.float32).reshape(count, dates),
        "place": texts([chip.place for chip in chips], (count,)),
        "scenes": texts([scene for chip in chips for scene in chip.scenes], (count, dates)),
    }


def facts_of(columns: Columns, row: int, layout: Layout) -> bytes:
    """Return the content of NUMBER.json for a row."""
    return layout.facts(
        [Date(int(year), int(day)) for year, day in columns["dates"][row]],
        float(columns["latitude"][row]),
        float(columns["longitude"][row]),
        int(columns["epsg"][row]),
        [float(value) for value in columns["transform"][row]],
    )


def joined(parts: Sequence[Columns], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return columns [rows, ...] of several tables, one below the other, the same however the rows were distributed."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return {name: _narrow(column) if column.dtype.kind == "S" else column for name, column in columns.items()}


def write(path: Path, columns: Columns) -> None:
    """Write a table, whole or not at all; the same columns give the same bytes."""
    with whole(path) as beside, open(beside, "wb") as file:
        np.savez(file, allow_pickle=False, **columns)


def read(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return some columns [rows, ...] of a table, or all. Raises OSError, ValueError or zipfile.BadZipFile."""
    with np.load(path, allow_pickle=False) as table:
        return {name: table[name] for name in (table.files if names is None else names)}


def texts(values: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    """Return texts as a column of UTF-8 in this shape, as wide as its longest text."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, f"S{max(map(len, encoded), default=1) or 1}").reshape(shape)


def _narrow(column: np.ndarray) -> np.ndarray:
    """Return texts in a column that is as wide as the longest."""
    return column.astype(f"S{max(1, np.strings.str_len(column).max(initial=1))}")
