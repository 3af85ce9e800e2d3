"""Parts of chips, which workers write in parallel, and the shards that are made of them.

How preparation uses it:

1. Cut the work into units in a fixed order, as few or as many as is convenient, but whatever the number of workers.
   A worker writes the chips of a unit into a part; a part of an earlier, interrupted call is taken as it is:

       layout = Layout(len(dates), len(bands), size)
       if not shards.is_done(part):                      # part: a Path without suffix, such as work/NAME/000017
           with shards.PartWriter(part, layout) as writer:
               for chip in chips_of_the_unit:            # none is fine, too
                   writer.add(chip)

2. When all parts are there, the chips are dealt to splits by place, and to shards by number:

       plan = shards.plan(parts, data.split, layout, data.shard_size)       # parts: in the units' order
       for job in plan.jobs(folder, name):               # shards and tables; may run in any order, in any process
           records[job.path.name] = pool.submit(job.write)
       splits, sums = plan.records(name, records), manifest.Sums(**plan.sums)   # for manifest.SourceRecord

The bytes of every file follow from the chips, the order of the parts and the configuration alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from slipway.data.files import FileRecord, record_of
from slipway.data.imagery import table
from slipway.data.imagery.chip import Chip
from slipway.data.imagery.layout import END, Layout
from slipway.data.imagery.manifest import SplitRecord, shard_name, table_name
from slipway.data.imagery.split import SPLITS, split_of
from slipway.data.kind import Split
from slipway.errors import UserError
from slipway.files import flush, whole

TABLE = ("dates", "latitude", "longitude", "epsg", "transform", "valid", "cloudy", "check", "place", "scenes")
"""Columns of a prepared table."""


class PartWriter:
    """The chips of one unit of work: PATH.pixels and PATH.npz, which is written last and vouches for both."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self.chips: list[Chip] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in ("check", *table.SUMS)}
        self.file = open(_pixels(path), "wb")  # noqa: SIM115

    def add(self, chip: Chip) -> None:
        """Write a chip. Its pixels may be changed afterwards."""
        layout = self.layout
        assert chip.pixels.dtype == np.int16 and chip.pixels.shape == layout.shape, chip.pixels.shape
        assert len(chip.dates) == len(chip.valid) == len(chip.cloudy) == len(chip.scenes) == layout.dates
        pixels = np.ascontiguousarray(chip.pixels, "<i2")
        self.file.write(pixels.data)
        self.columns["check"].append(table.check_of(pixels.data))
        for name, values in zip(table.SUMS, table.sums_of(pixels), strict=True):
            self.columns[name].append(values)
        self.chips.append(chip._replace(pixels=np.empty(0, np.int16)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.file.close()
        if kind is not None:
            _pixels(self.path).unlink(missing_ok=True)
            return
        flush(_pixels(self.path))
        rows = table.of_chips(self.chips, self.layout)
        rows["check"] = np.array(self.columns["check"], np.uint32)
        for name in table.SUMS:
            rows[name] = np.array(self.columns[name], np.int64).reshape(len(self.chips), self.layout.bands)
        table.write(_table(self.path), rows)


def is_done(path: Path) -> bool:
    """Return whether a part exists."""
    return _table(path).is_file()


def chips_in(path: Path) -> int:
    """Return the number of chips in a part."""
    return len(table.read(_table(path), ["check"])["check"])


@dataclass(frozen=True)
class SplitPlan:
    """The chips of one split, in order: the part that each comes from, and its row there."""

    parts: np.ndarray
    rows: np.ndarray
    places: int


@dataclass(frozen=True)
class Plan:
    """The place of each chip in the shards."""

    parts: tuple[Path, ...]
    layout: Layout
    chips_per_shard: int
    splits: Mapping[Split, SplitPlan]
    """The splits that have chips."""
    sums: Mapping[str, list[int]]
    """count, sum and squares of the training chips, by band: exact."""

    def jobs(self, folder: Path, source: str) -> "list[ShardJob | TableJob]":
        """Return the files that have to be written."""
        found: list[ShardJob | TableJob] = []
        for split, chips in self.splits.items():
            for number, first in enumerate(range(0, len(chips.rows), self.chips_per_shard)):
                piece = slice(first, first + self.chips_per_shard)
                path = folder / shard_name(source, split, number)
                used, of_part = np.unique(chips.parts[piece], return_inverse=True)
                parts = tuple(self.parts[part] for part in used)
                found.append(ShardJob(path, parts, self.layout, first, of_part, chips.rows[piece]))
            found.append(TableJob(folder / table_name(source, split), self.parts, chips.parts, chips.rows))
        return found

    def records(self, source: str, written: Mapping[str, FileRecord]) -> dict[Split, SplitRecord]:
        """Return the manifest's records of the splits. written: the records that the jobs returned, by file name."""
        return {
            split: SplitRecord(
                chips=len(chips.rows),
                places=chips.places,
                chips_per_shard=self.chips_per_shard,
                shards=[
                    written[shard_name(source, split, number)]
                    for number in range(-(-len(chips.rows) // self.chips_per_shard))
                ],
                table=written[table_name(source, split)],
            )
            for split, chips in self.splits.items()
        }


@dataclass(frozen=True)
class ShardJob:
    """A shard to be written."""

    path: Path
    parts: tuple[Path, ...]
    layout: Layout
    first: int
    """The number of its first chip in the split."""
    of_part: np.ndarray
    rows: np.ndarray

    def write(self) -> FileRecord:
        """Write the shard, whole or not at all, and return its record; one that exists is not written again.

        Raises UserError if the part of a chip is damaged.
        """
        if self.path.is_file():
            return record_of(self.path)
        digest = hashlib.sha256()
        size = self.layout.pixel_bytes
        with whole(self.path) as beside, open(beside, "wb") as file:

            def put(data: Any) -> None:
                digest.update(data)
                file.write(data)

            for index, (part, row) in enumerate(zip(self.of_part, self.rows, strict=True)):
                number, path = self.first + index, self.parts[part]
                with open(_pixels(path), "rb") as pixels:
                    pixels.seek(int(row) * size)
                    data = pixels.read(size)
                columns = _columns(path)
                if len(data) != size or table.check_of(memoryview(data)) != columns["check"][row]:
                    raise UserError(
                        "data.dir",
                        "is damaged",
                        value=_pixels(path),
                        do=f"remove {path.parent} and run `slipway data` again",
                    )
                put(self.layout.before(number))
                put(data)
                put(self.layout.after(number, table.facts_of(columns, int(row), self.layout)))
            put(bytes(END))
        return FileRecord(bytes=self.layout.shard_bytes(len(self.rows)), sha256=digest.hexdigest())


@dataclass(frozen=True)
class TableJob:
    """The table of a split to be written."""

    path: Path
    parts: tuple[Path, ...]
    of_part: np.ndarray
    rows: np.ndarray

    def write(self) -> FileRecord:
        """Write the table, whole or not at all, and return its record."""
        used = np.unique(self.of_part)
        pieces = []
        for part in used:
            columns, chosen = _columns(self.parts[part]), self.rows[self.of_part == part]
            pieces.append({name: columns[name][chosen] for name in TABLE})
        table.write(self.path, table.joined(pieces, TABLE))
        return record_of(self.path)


def plan(parts: Sequence[Path], shares: tuple[float, float, float], layout: Layout, shard_size: int) -> Plan:
    """Return which chip goes where: to splits by place, and to shards of about `shard_size` bytes by number.

    Shards of a split have the same number of chips, except for the last.
    """
    tables = [table.read(_table(part), ["place", *table.SUMS]) for part in parts]
    if not tables:
        return Plan(
            (), layout, layout.chips_in(shard_size), {}, dict.fromkeys(table.SUMS, [0] * layout.bands)
        )
    place = np.concatenate([columns["place"] for columns in tables])
    of_part = np.repeat(np.arange(len(parts), dtype=np.int32), [len(c["place"]) for c in tables])
    rows = np.concatenate([np.arange(len(c["place"]), dtype=np.int32) for c in tables])
    names, which = np.unique(place, return_inverse=True)
    dealt = split_of([name.decode() for name in names], shares)
    number = np.array([SPLITS.index(dealt[name.decode()]) for name in names], np.int8)[which]
    splits: dict[Split, SplitPlan] = {}
    for index, split in enumerate(SPLITS):
        chosen = number == index
        if chosen.any():
            splits[split] = SplitPlan(of_part[chosen], rows[chosen], len(np.unique(which[chosen])))
    trained = number == 0
    sums = {
        name: [int(v) for v in np.concatenate([c[name] for c in tables])[trained].sum(axis=0, dtype=object)]
        for name in table.SUMS
    }
    return Plan(tuple(parts), layout, layout.chips_in(shard_size), splits, sums)


@lru_cache(4)  # chips come in the order of the parts
def _columns(path: Path) -> table.Columns:
    return table.read(_table(path))


def _pixels(path: Path) -> Path:
    return path.with_name(f"{path.name}.pixels")


def _table(path: Path) -> Path:
    return path.with_name(f"{path.name}.npz")
