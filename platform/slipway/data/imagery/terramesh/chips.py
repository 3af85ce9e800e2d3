"""Samples of TerraMesh's shards, read in any order: an index tells where the bytes of each one are."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slipway.data.files import ADVICE, DataChanged
from slipway.data.imagery.manifest import SplitRecord, table_name
from slipway.data.imagery.open_files import OpenFiles
from slipway.data.imagery.stored import read_columns
from slipway.data.imagery.terramesh.member import Encoding, codec
from slipway.data.kind import Split

PLACES = ("shard", "offset", "length", "crc")
"""Columns that an index adds to a table's: int32 [N]; int64, int32 and uint32 [N, chunks] for each chunk."""


@dataclass(frozen=True)
class Decoder:
    """Turns stored chunks into the pixels of the bands that are asked for."""

    encoding: Encoding
    bands: tuple[int, ...]
    """The numbers of the stored bands, in the order that is asked for."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Decoder":
        """Return the decoder that the manifest's `encoding` describes."""
        fields = {**record, "shape": tuple(record["shape"])}
        bands = tuple(fields.pop("bands"))
        return cls(Encoding(**fields), bands)

    def record(self) -> dict[str, Any]:
        """Return the decoder as JSON, for the manifest."""
        return {**vars(self.encoding), "shape": list(self.encoding.shape), "bands": list(self.bands)}

    def decode(self, number: int, data: bytes | memoryview | None, pixels: np.ndarray) -> None:
        """Fill the dates of chunk `number`; `data` is None if it is absent. Raises ValueError if it cannot be decoded.

        pixels: [dates, bands, rows, columns], of a type that holds all values of the stored one.
        """
        count, (_, bands, rows, columns) = self.encoding.dates_per_chunk, self.encoding.shape
        part = pixels[number * count : (number + 1) * count]
        if data is None:
            part[...] = float(self.encoding.fill_value)
            return
        dtype = np.dtype(self.encoding.dtype)
        direct = self.bands == tuple(range(bands)) and part.dtype == dtype
        chunk = part if direct else np.empty((count, bands, rows, columns), dtype)
        try:
            if self.encoding.compressor == "null":
                chunk[...] = np.frombuffer(data, dtype).reshape(chunk.shape)
            else:
                codec(self.encoding.compressor).decode(data, out=chunk)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(f"cannot be decoded: {error}") from error
        if not direct:
            part[...] = chunk[:, list(self.bands)]


class MeshChips:
    """Chips (slipway.data.imagery.stored.Chips) in TerraMesh's own shards."""

    def __init__(
        self, folder: Path, source: str, split: Split, record: SplitRecord, encoding: Mapping[str, Any]
    ) -> None:
        """Read the index and prepare to read the shards. Raises DataChanged if the index is not as prepared."""
        columns = read_columns(folder / table_name(source, split), record.chips, *PLACES)
        self.dates = columns["dates"]
        self.location = np.stack([columns["latitude"], columns["longitude"]], axis=1)
        self.shard, self.offset, self.length, self.crc = (columns[name] for name in PLACES)
        self.decoder = Decoder.of(encoding)
        self.files = OpenFiles(
            [Path(shard.path) for shard in record.outside], [shard.bytes for shard in record.outside]
        )

    def read_into(self, chip: int, pixels: np.ndarray) -> None:
        """Fill `pixels` [dates, bands, rows, columns], C order. Raises DataChanged if they are not as indexed."""
        shard = int(self.shard[chip])
        for number in range(self.decoder.encoding.chunks):
            length = int(self.length[chip, number])
            data = bytearray(length)
            if length:
                self.files.read_into(shard, memoryview(data), int(self.offset[chip, number]))
                if zlib.crc32(data) != self.crc[chip, number]:
                    raise DataChanged(
                        self.files.paths[shard],
                        f"the chunk at byte {self.offset[chip, number]} is not what was indexed: its CRC is wrong",
                        do=ADVICE,
                    )
            self.decoder.decode(number, memoryview(data) if length else None, pixels)

    def close(self) -> None:
        """Close the shards' files."""
        self.files.close()
