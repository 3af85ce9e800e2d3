"""manifest.json: which chips were prepared, and from what, with checksums.

It is written last, so it vouches for the rest.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from slipway.data import prepared
from slipway.data.files import FileRecord
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.layout import Layout
from slipway.data.kind import Split
from slipway.data.prepared import Record

AXES = ("dates", "bands", "rows", "columns")


def shard_name(source: str, split: Split, number: int) -> str:
    """Return the file name of a shard."""
    return f"{source}-{split}-{number:05d}.tar"


def table_name(source: str, split: Split) -> str:
    """Return the file name of a split's table."""
    return f"{source}-{split}.npz"


class Skipped(Record):
    """A scene or file that was found and not used."""

    path: str
    reason: str


USELESS = "is usable in none of its windows"
"""The beginning of the reason against a scene that is sound, but under clouds or beside the swath."""


class Sums(Record):
    """Sums over the measured pixels of the training chips, by band."""

    count: list[int]
    sum: Sequence[int | float]  # integers are exact; float products have float64 sums
    squares: Sequence[int | float]


class Outside(Record):
    """A shard that is read in its own place."""

    path: str
    bytes: int


class SplitRecord(Record):
    """One split: SOURCE-SPLIT-NNNNN.tar and SOURCE-SPLIT.npz (see slipway.data.imagery.table)."""

    chips: int
    places: int
    chips_per_shard: int = 0  # of all shards but the last; 0: the shards lie outside
    shards: list[FileRecord] = []
    table: FileRecord
    outside: list[Outside] = []


class SourceRecord(Record):
    """One source."""

    inputs: list[str]
    places: list[str]  # of the inputs: absolute, links resolved
    format: str  # as found where `auto` was asked for
    names: dict[str, str] = {}  # of bands and masks, as asked
    scale: float | None = None
    files: int
    input_bytes: int
    input_sha256: str  # of the files' names, sizes and times
    scenes: int  # that were read
    skipped: list[Skipped] = []  # scenes that could not be read as they should
    left_out: int = 0  # files that are no scenes
    chips_left_out: dict[str, int] = {}  # by reason: too little measured, too many clouds, ...
    splits: dict[Split, SplitRecord]
    sums: Sums
    encoding: dict[str, Any] = {}  # of the arrays in shards that lie outside


class Manifest(Record):
    """The content of data.dir."""

    format: Literal[1] = 1
    axes: tuple[str, str, str, str] = AXES  # of the pixels
    dtype: Literal["int16", "float16", "float32"] = "int16"
    bands: list[str]
    num_frames: int
    chip_size: int
    cut: dict[str, Any] = {}  # what else decided which chips were cut: see `asked`
    sources: dict[str, SourceRecord]
    versions: dict[str, str]

    @property
    def layout(self) -> Layout:
        """The layout of the chips in the shards."""
        return Layout(self.num_frames, len(self.bands), self.chip_size)


CUT = ("gap_days", "resolution", "min_valid", "max_cloud", "split", "shard_size")


def asked(data: Data) -> dict[str, Any]:
    """Return the settings of `data`, without the sources, that decide which chips come out, as JSON."""
    return {
        name: list(value) if isinstance(value := getattr(data, name), tuple) else value
        for name in ("bands", "num_frames", "chip_size", *CUT)
    }


def load(data: Data) -> Manifest:
    """Return the manifest of data.dir.

    Raises UserError if no data is prepared there, if it was prepared with other settings than `data` has, or if a file
    is missing or has another size than the manifest says.
    """
    found = prepared.found(data.dir, Manifest)
    _check_asked(found, data)
    prepared.check_sizes(files(data.dir, found), data.dir)
    return found


def read(folder: Path) -> Manifest | None:
    """Return the manifest in a folder; None if there is none. Raises UserError if it is not valid."""
    return prepared.read(folder, Manifest)


def to_text(manifest: Manifest) -> str:
    """Return the manifest as it is written: indented JSON."""
    return json.dumps(manifest.model_dump(), indent=1) + "\n"


def files(folder: Path, found: Manifest, source: str | None = None) -> dict[Path, FileRecord]:
    """Return the prepared files of a source, or of all sources, with their records."""
    records: dict[Path, FileRecord] = {}
    for name in found.sources if source is None else [source]:
        for split, chips in found.sources[name].splits.items():
            for number, shard in enumerate(chips.shards):
                records[folder / shard_name(name, split, number)] = shard
            records[folder / table_name(name, split)] = chips.table
    return records


def _check_asked(found: Manifest, data: Data) -> None:
    then: dict[str, Any] = {
        "bands": found.bands,
        "num_frames": found.num_frames,
        "chip_size": found.chip_size,
        **found.cut,
    }
    for name, value in asked(data).items():
        if value != then.get(name):
            raise prepared.differs(f"data.{name}", value, then.get(name), data.dir)
    prepared.check_sources(data.sources, found.sources, data.dir)
    for name, source in data.sources.items():
        record = found.sources[name]
        fields = ("names", "scale") if _same_inputs(source, record) else ("inputs", "names", "scale")
        prepared.check_fields(name, source, record, fields, data.dir)
        if source.format not in ("auto", record.format):
            raise prepared.differs(f"data.sources.{name}.format", source.format, record.format, data.dir)


def _same_inputs(source: Source, record: SourceRecord) -> bool:
    """Return whether the inputs are those of the record, whatever their spelling. They need not exist."""
    return source.inputs == record.inputs or places(source.inputs) == record.places


def places(entries: list[str]) -> list[str]:
    """Return the paths of the entries of `inputs`, the same for each spelling. They need not exist."""
    return [entry if entry == GENERATED else os.path.realpath(os.path.expanduser(entry)) for entry in entries]


GENERATED = "generated"
"""The input that is no file: scenes that the project generates."""
