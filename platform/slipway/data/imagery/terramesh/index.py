"""The index of a shard: where each sample's bytes lie, when and where it was taken, and the sums of its bands.

A shard is read once, from its beginning to its end, and every chunk of it is decoded: what training could not read is
found here. The index of a shard is a part (PATH.npz, and PATH.json with what was left out), which an interrupted
preparation takes as it is.
"""

import json
import math
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slipway.data.imagery import table
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.terramesh.chips import PLACES, Decoder
from slipway.data.imagery.terramesh.member import Bad, Member, parse
from slipway.errors import UserError
from slipway.files import write_whole

COLUMNS = (
    *("dates", "latitude", "longitude", "epsg", "transform", "valid", "cloudy", "place", "scenes"),
    *PLACES,
)
ENDING = ".zarr.zip"


class Sample(NamedTuple):
    """A readable sample of a shard."""

    key: str
    offset: int
    """The offset of the zip file in the shard, in bytes."""
    member: Member
    valid: tuple[float, ...]
    sums: tuple[np.ndarray, ...]


class Wanted(NamedTuple):
    """The properties that a shard's samples must have."""

    layout: Layout
    bands: tuple[int, ...]
    """The numbers of the stored bands, in the order that is asked for."""
    stored_bands: int
    dtype: str
    """The type of the pixels in memory."""
    refuse: bool
    """Whether a bad sample ends the preparation; otherwise it is left out and named."""


def write(shard: Path, wanted: Wanted, path: Path) -> None:
    """Write the index of a shard into the part `path`.

    Raises UserError if a sample is Bad, or stored in another way than those before it, and wanted.refuse is set; else
    such a sample is left out and noted.
    """
    samples: list[Sample] = []
    skipped: list[dict[str, str]] = []
    decoder = None
    for key, offset, data in members(shard, skipped, wanted.refuse):
        try:
            member = parse(data)
            _check(member, wanted)
            decoder = decoder or Decoder(member.encoding, wanted.bands)
            if member.encoding != decoder.encoding:
                raise Bad("is stored in another way than the samples before it")
            samples.append(Sample(key, offset, member, *_measured(member, decoder, data, wanted)))
        except Bad as error:
            if wanted.refuse:
                raise UserError(str(shard), str(error), value=key, do=_SKIP) from error
            skipped.append({"path": f"{shard}/{key}", "reason": str(error)})
    table.write(path.with_name(f"{path.name}.npz"), _columns(samples, wanted.layout))
    notes = {"skipped": skipped, "encoding": decoder.record() if decoder else None}
    write_whole(path.with_name(f"{path.name}.json"), json.dumps(notes))


def notes_of(path: Path) -> dict[str, Any] | None:
    """Return an index's notes beside its table: `skipped` and `encoding`; None if they do not exist."""
    try:
        return json.loads(path.with_name(f"{path.name}.json").read_text())
    except FileNotFoundError:
        return None


def columns_of(path: Path) -> dict[str, np.ndarray]:
    """Return the table of an index, with columns [N, ...]."""
    return table.read(path.with_name(f"{path.name}.npz"))


_SKIP = "set data.on_bad_scene=skip to skip it"


def members(shard: Path, skipped: list[dict[str, str]], refuse: bool) -> Iterator[tuple[str, int, bytes]]:
    """Yield key, offset and content of each sample; a shard that ends early yields those before its end.

    A shard that is not a complete archive (ReadError inside) raises UserError if `refuse` is set; else it is added to
    `skipped`.
    """
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                file = archive.extractfile(info)
                if file is not None and info.name.endswith(ENDING):
                    data = file.read()
                    if len(data) != info.size:
                        raise tarfile.ReadError("unexpected end of data")
                    yield Path(info.name).name.removesuffix(ENDING), info.offset_data, data
    except (tarfile.TarError, OSError) as error:
        if refuse:
            raise UserError(
                str(shard), f"is not a complete tar archive: {error}", do=f"replace it, or {_SKIP}"
            ) from error
        skipped.append({"path": str(shard), "reason": f"is not a complete tar archive: {error}"})


def _check(member: Member, wanted: Wanted) -> None:
    dates, bands, rows, columns = member.encoding.shape
    layout = wanted.layout
    if (dates, rows, columns) != (layout.dates, layout.size, layout.size) or bands != wanted.stored_bands:
        raise Bad(
            f"is {dates} dates x {bands} bands x {rows} x {columns}, but {layout.dates} x {wanted.stored_bands} x "
            f"{layout.size} x {layout.size} are expected"
        )
    if pixels_of(member.encoding.dtype) != wanted.dtype:
        raise Bad(f"has pixels of {member.encoding.dtype}, where the others are read as {wanted.dtype}")


def pixels_of(dtype: str) -> str | None:
    """Return the type of pixels in memory for a stored type; None if that cannot be read."""
    types = {"int16": "int16", "uint8": "int16", "float16": "float16", "float32": "float32"}
    return types.get(dtype)


def _measured(
    member: Member, decoder: Decoder, data: bytes, wanted: Wanted
) -> tuple[tuple[float, ...], tuple[np.ndarray, ...]]:
    """Return the shares of known pixels by date, and count, sum and squares by band. Raises Bad if data is damaged."""
    pixels = np.empty(wanted.layout.shape, wanted.dtype)
    for number, (offset, length, crc) in enumerate((c.offset, c.length, c.crc) for c in member.chunks):
        chunk = memoryview(data)[offset : offset + length]
        if length and zlib.crc32(chunk) != crc:
            raise Bad("is damaged: a chunk's CRC differs")
        try:
            decoder.decode(number, chunk if length else None, pixels)
        except ValueError as error:
            raise Bad(str(error)) from error
    if pixels.dtype.kind == "i":
        return (1.0,) * wanted.layout.dates, table.sums_of(pixels)
    known = np.isfinite(pixels)
    valid = tuple(float(share) for share in known.all(axis=1).mean(axis=(1, 2)))
    values = np.where(known, pixels, 0).astype(np.float64).swapaxes(0, 1).reshape(wanted.layout.bands, -1)
    count = known.swapaxes(0, 1).reshape(wanted.layout.bands, -1).sum(axis=1)
    return valid, (count, values.sum(axis=1), np.square(values).sum(axis=1))


def _columns(samples: Sequence[Sample], layout: Layout) -> dict[str, np.ndarray]:
    count, dates = len(samples), layout.dates
    chunks = len(samples[0].member.chunks) if samples else 1
    members = [sample.member for sample in samples]
    places = [
        [(sample.offset + chunk.offset, chunk.length, chunk.crc) for chunk in sample.member.chunks]
        for sample in samples
    ]
    where = np.array(places, np.int64).reshape(count, chunks, 3)
    sums = np.array([sample.sums for sample in samples]).reshape(count, 3, layout.bands)
    return {
        "dates": np.array([member.dates for member in members], np.int16).reshape(count, dates, 2),
        "latitude": np.array([member.latitude for member in members], np.float64),
        "longitude": np.array([member.longitude for member in members], np.float64),
        "epsg": np.array([member.epsg for member in members], np.int32),
        "transform": np.array([member.transform for member in members], np.float64).reshape(count, 6),
        "valid": np.array([sample.valid for sample in samples], np.float32).reshape(count, dates),
        "cloudy": np.full((count, dates), math.nan, np.float32),
        "place": table.texts([sample.key for sample in samples], (count,)),
        "scenes": table.texts([name for member in members for name in member.scenes], (count, dates)),
        "offset": where[..., 0],
        "length": where[..., 1].astype(np.int32),
        "crc": where[..., 2].astype(np.uint32),
        **{name: sums[:, number] for number, name in enumerate(table.SUMS)},
    }
