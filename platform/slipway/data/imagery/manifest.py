"""manifest.json: which chips were prepared, from what, with checksums. Written last, so it vouches for the rest."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.data.files import FileRecord
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.layout import Layout
from slipway.data.kind import Split
from slipway.errors import UserError
from slipway.records import first_problem

FILE_NAME = "manifest.json"
AXES = ("dates", "bands", "rows", "columns")


def shard_name(source: str, split: Split, number: int) -> str:
    """File name of a shard."""
    return f"{source}-{split}-{number:05d}.tar"


def table_name(source: str, split: Split) -> str:
    """File name of the table of a split."""
    return f"{source}-{split}.npz"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Skipped(_Record):
    """What was found and not used."""

    path: str
    reason: str


class Sums(_Record):
    """Of the training chips by band, over the pixels that were measured."""

    count: list[int]
    sum: Sequence[int | float]  # integers are exact; float products have float64 sums
    squares: Sequence[int | float]


class Outside(_Record):
    """A shard that is read as it is, where it is."""

    path: str
    bytes: int


class SplitRecord(_Record):
    """SOURCE-SPLIT-NNNNN.tar and SOURCE-SPLIT.npz (see slipway.data.imagery.table)."""

    chips: int
    places: int
    chips_per_shard: int = 0  # of all shards but the last; 0: the shards lie outside
    shards: list[FileRecord] = []
    table: FileRecord
    outside: list[Outside] = []


class SourceRecord(_Record):
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


class Manifest(_Record):
    """What data.dir holds."""

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
        """Of the chips in the shards."""
        return Layout(self.num_frames, len(self.bands), self.chip_size)


CUT = ("gap_days", "resolution", "min_valid", "max_cloud", "split", "shard_size")


def asked(data: Data) -> dict[str, Any]:
    """What of `data`, besides the sources, decides which chips come out, as JSON."""
    return {
        name: list(value) if isinstance(value := getattr(data, name), tuple) else value
        for name in ("bands", "num_frames", "chip_size", *CUT)
    }


def load(data: Data) -> Manifest:
    """The manifest of data.dir.

    Raises UserError when nothing is prepared there, when something else is prepared there than `data` asks
    for, or when a file is missing or has another size than the manifest says.
    """
    found = read(data.dir)
    if found is None:
        raise UserError(
            "data.dir",
            "holds no prepared data",
            value=data.dir,
            do="run `slipway data` first, with the same data.* overrides",
        )
    _check_asked(found, data)
    for path, record in files(data.dir, found).items():
        _check_size(path, record, data.dir)
    return found


def read(folder: Path) -> Manifest | None:
    """The manifest in a folder, None where there is none."""
    path = folder / FILE_NAME
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("data.dir", f"cannot be read: {error}", value=path) from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            "data.dir", f"is not a manifest of this version: {first_problem(error)}", value=path
        ) from error


def to_text(manifest: Manifest) -> str:
    """As it is written: JSON for people."""
    return json.dumps(manifest.model_dump(), indent=1) + "\n"


def files(folder: Path, found: Manifest, source: str | None = None) -> dict[Path, FileRecord]:
    """The prepared files of a source, or of all, with their records."""
    records: dict[Path, FileRecord] = {}
    for name in found.sources if source is None else [source]:
        for split, chips in found.sources[name].splits.items():
            for number, shard in enumerate(chips.shards):
                records[folder / shard_name(name, split, number)] = shard
            records[folder / table_name(name, split)] = chips.table
    return records


def _check_asked(found: Manifest, data: Data) -> None:
    remedy = f"ask for the same, choose another data.dir, or remove {data.dir} and run `slipway data`"
    prepared: dict[str, Any] = {
        "bands": found.bands,
        "num_frames": found.num_frames,
        "chip_size": found.chip_size,
        **found.cut,
    }
    for name, value in asked(data).items():
        if value != prepared.get(name):
            raise UserError(
                f"data.{name}",
                f"differs from {prepared.get(name)}, with which {data.dir} was prepared",
                value=value,
                do=remedy,
            )
    if set(data.sources) != set(found.sources):
        raise UserError(
            "data.sources",
            f"differs from the prepared sources in {data.dir}: {', '.join(found.sources)}",
            value=", ".join(data.sources),
            do=remedy,
        )
    for name, source in data.sources.items():
        record = found.sources[name]
        if not _same_inputs(source, record):
            raise UserError(
                f"data.sources.{name}.inputs",
                f"differs from {record.inputs}, from which {data.dir} was prepared",
                value=source.inputs,
                do=remedy,
            )
        for field in ("names", "scale"):
            if getattr(source, field) != getattr(record, field):
                raise UserError(
                    f"data.sources.{name}.{field}",
                    f"differs from {getattr(record, field)}, with which {data.dir} was prepared",
                    value=getattr(source, field),
                    do=remedy,
                )
        if source.format not in ("auto", record.format):
            raise UserError(
                f"data.sources.{name}.format",
                f"differs from {record.format}, as which {data.dir} was prepared",
                value=source.format,
                do=remedy,
            )


def _same_inputs(source: Source, record: SourceRecord) -> bool:
    """Whether the inputs are those of the record, whatever their spelling. They need not be there."""
    return source.inputs == record.inputs or places(source.inputs) == record.places


def places(entries: list[str]) -> list[str]:
    """Where the entries of `inputs` lie, the same for each spelling of the same file. They need not be there."""
    return [entry if entry == GENERATED else os.path.realpath(os.path.expanduser(entry)) for entry in entries]


GENERATED = "generated"
"""The input that is no file: scenes that the project generates."""


def _check_size(path: Path, record: FileRecord, folder: Path) -> None:
    remedy = f"remove {folder} and run `slipway data`"
    if not path.is_file():
        raise UserError("data.dir", "is missing", value=path, do=remedy)
    size = path.stat().st_size
    if size != record.bytes:
        raise UserError(
            "data.dir", f"has {size} bytes, but {record.bytes} in its manifest", value=path, do=remedy
        )
