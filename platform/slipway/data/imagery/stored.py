"""Prepared chips of one source and split, read in any order."""

from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from slipway.data.files import ADVICE, DataChanged
from slipway.data.imagery import table
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import SplitRecord, shard_name, table_name
from slipway.data.imagery.open_files import OpenFiles
from slipway.data.kind import Split


class Chips(Protocol):
    """Chips by number, however they are stored. Threads share them."""

    dates: np.ndarray
    """int16 [chips, dates, 2]: year, day of year."""
    location: np.ndarray
    """float64 [chips, 2]: latitude, longitude."""

    def read_into(self, chip: int, pixels: np.ndarray) -> None:
        """Fill `pixels` [dates, bands, rows, columns], C order. Raises DataChanged if they are not as prepared."""
        ...

    def close(self) -> None:
        """Close all open files."""
        ...


class StoredChips:
    """Chips in shards that Slipway wrote: each is read by one call, and compared with its checksum."""

    def __init__(self, folder: Path, source: str, split: Split, record: SplitRecord, layout: Layout) -> None:
        """Read the table and prepare to read the shards. Raises DataChanged if the table is not as prepared."""
        self.layout, self.per_shard = layout, record.chips_per_shard
        columns = read_columns(folder / table_name(source, split), record.chips, "check")
        self.dates, self.check = columns["dates"], columns["check"]
        self.location = np.stack([columns["latitude"], columns["longitude"]], axis=1)
        paths = [folder / shard_name(source, split, number) for number in range(len(record.shards))]
        self.files = OpenFiles(paths, [shard.bytes for shard in record.shards])

    def read_into(self, chip: int, pixels: np.ndarray) -> None:
        """Fill `pixels` [dates, bands, rows, columns], C order. Raises DataChanged if the checksum differs."""
        shard, place = divmod(chip, self.per_shard)
        data = pixels.reshape(-1).view(np.uint8).data
        self.files.read_into(shard, data, self.layout.offset(place))
        if table.check_of(data) != self.check[chip]:
            raise DataChanged(
                self.files.paths[shard],
                f"chip {place} differs from what was prepared: its checksum is wrong",
                do=ADVICE,
            )

    def close(self) -> None:
        """Close the shards' files."""
        self.files.close()


def read_columns(path: Path, chips: int, *names: str) -> dict[str, np.ndarray]:
    """Return the columns [chips, ...] of a table that training needs, and `names`.

    Raises DataChanged if the table cannot be read, or has another number of chips.
    """
    try:
        columns = table.read(path, ["dates", "latitude", "longitude", *names])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataChanged(path, f"cannot be read: {error}", do=ADVICE) from error
    if len(columns["dates"]) != chips:
        raise DataChanged(path, f"has {len(columns['dates'])} chips, but {chips} in the manifest", do=ADVICE)
    return columns
