"""A source of TerraMesh's shards: finding them, and preparing an index for each split."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from slipway.data.files import record_of
from slipway.data.imagery import table
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import (
    Outside,
    Skipped,
    SourceRecord,
    SplitRecord,
    Sums,
    places,
    table_name,
)
from slipway.data.imagery.terramesh import index
from slipway.data.imagery.terramesh.modalities import MODALITIES, SPLITS
from slipway.data.inputs import FoundFile, check_unchanged, fingerprint
from slipway.data.kind import Split
from slipway.errors import UserError


@dataclass(frozen=True)
class Shard:
    """A tar archive of a source."""

    file: FoundFile
    split: Split
    modality: str


def survey(name: str, inputs: list[str]) -> list[Shard]:
    """Return the shards of a source, by split and name. Raises UserError for folders that are not TerraMesh's."""
    found: list[Shard] = []
    for number, entry in enumerate(inputs):
        where = f"data.sources.{name}.inputs[{number}]"
        folder = Path(os.path.realpath(os.path.expanduser(entry)))
        if not folder.is_dir():
            raise UserError(where, "is not a folder", value=entry, use="one such as TerraMesh/train/S2L2A")
        if folder.name not in MODALITIES or folder.parent.name not in SPLITS:
            raise UserError(
                where,
                "is not named like a folder of TerraMesh, whose name gives its split and bands",
                value=entry,
                use=f"SPLIT/MODALITY with {', '.join(SPLITS)} and {', '.join(MODALITIES)}",
            )
        shards = sorted(path for path in folder.glob("*.tar") if path.is_file())
        if not shards:
            raise UserError(
                where, "holds no .tar files", value=entry, do="name a folder with shards of TerraMesh"
            )
        for path in shards:
            state = path.stat()
            file = FoundFile(
                str(path), f"{folder.parent.name}/{folder.name}/{path.name}", state.st_size, state.st_mtime_ns
            )
            found.append(Shard(file, SPLITS[folder.parent.name], folder.name))
    others = sorted({shard.modality for shard in found})
    if len(others) > 1:
        raise UserError(
            f"data.sources.{name}.inputs",
            f"mixes {' and '.join(others)}, whose bands differ",
            value=inputs,
            do="make a source, and a data.dir, of each",
        )
    if not find_spec("numcodecs"):
        raise UserError(
            f"data.sources.{name}.format",
            "needs numcodecs, which is not installed here",
            value="terramesh",
            do="run `pip install slipway[earth]`",
        )
    order = {split: place for place, split in enumerate(SPLITS.values())}
    return sorted(found, key=lambda shard: (order[shard.split], shard.file.name))


def _wanted(name: str, data: Data, shards: list[Shard]) -> index.Wanted:
    """Return the properties that the samples must have. Raises UserError if the shards lack a band."""
    stored = MODALITIES[shards[0].modality]
    for band in data.bands:
        if band not in stored:
            raise UserError(
                "data.bands",
                f"are not in data.sources.{name}: {shards[0].modality} has {', '.join(stored)}",
                value=band,
                use="some of these",
            )
    layout = Layout(data.num_frames, len(data.bands), data.chip_size)
    return index.Wanted(
        layout,
        tuple(stored.index(band) for band in data.bands),
        len(stored),
        _dtype(name, shards[0]),
        data.on_bad_scene == "refuse",
    )


def prepare(
    name: str,
    data: Data,
    shards: list[Shard],
    pool: Executor,
    work: Path,
    folder: Path,
    advance: Callable[[int, int, bool], None],
) -> tuple[SourceRecord, str]:
    """Write folder/NAME-SPLIT.npz for each split, from indexes of the shards that processes of the pool make.

    work: a folder of this source's own, with what an interrupted call has left there. advance: called after each shard
    with its bytes, its samples, and whether it was indexed now. The files do not depend on the pool.

    Returns the manifest's record, and the type of the pixels in memory. Raises UserError if a shard or a sample is
    refused.
    """
    asked = _wanted(name, data, shards)
    work.mkdir(exist_ok=True)
    paths = [work / f"{number:06d}" for number in range(len(shards))]
    waiting: list[tuple[Shard, Path, Future[None] | None]] = []
    for shard, path in zip(shards, paths, strict=True):
        fresh = index.notes_of(path) is None
        waiting.append(
            (shard, path, pool.submit(index.write, Path(shard.file.path), asked, path) if fresh else None)
        )
    for shard, path, future in waiting:
        if future:
            future.result()
        check_unchanged(shard.file)
        advance(shard.file.size, len(index.columns_of(path)["place"]), future is not None)
    return _finish(name, data, list(zip(shards, paths, strict=True)), folder), asked.dtype


def _finish(name: str, data: Data, parts: list[tuple[Shard, Path]], folder: Path) -> SourceRecord:
    """Write the index of each split and return the source's record. Raises UserError if no sample can be read."""
    shards = [shard for shard, _ in parts]
    notes = [index.notes_of(path) for _, path in parts]
    skipped = [Skipped(**one) for note in notes if note for one in note["skipped"]]
    encodings = [note["encoding"] for note in notes if note and note["encoding"]]
    if not encodings:
        raise UserError(
            f"data.sources.{name}",
            f"has no readable sample in {len(shards)} shards: {skipped[0].path} {skipped[0].reason}"
            if skipped
            else f"has no samples in {len(shards)} shards",
            do="name other shards",
        )
    for (shard, _), note in zip(parts, notes, strict=True):
        if note and note["encoding"] not in (None, encodings[0]):
            raise UserError(
                f"data.sources.{name}",
                f"has shards that are stored in different ways: {note['encoding']} and {encodings[0]}",
                value=shard.file.path,
                do="make a source of each",
            )
    splits: dict[Split, SplitRecord] = {}
    sums: Mapping[str, list[Any]] = {key: [0] * len(data.bands) for key in table.SUMS}
    for split in SPLITS.values():
        mine = [(shard, path) for shard, path in parts if shard.split == split]
        columns = [index.columns_of(path) for _, path in mine]
        if not any(len(one["place"]) for one in columns):
            continue
        joined = table.joined(columns, (c for c in index.COLUMNS if c != "shard"))
        joined["shard"] = np.repeat(np.arange(len(mine), dtype=np.int32), [len(c["place"]) for c in columns])
        if split == "training":
            sums = {key: _total(columns, key) for key in table.SUMS}
        path = folder / table_name(name, split)
        table.write(path, joined)
        splits[split] = SplitRecord(
            chips=len(joined["place"]),
            places=len(np.unique(joined["place"])),
            table=record_of(path),
            outside=[Outside(path=shard.file.path, bytes=shard.file.size) for shard, _ in mine],
        )
    files = [shard.file for shard in shards]
    return SourceRecord(
        inputs=data.sources[name].inputs,
        places=places(data.sources[name].inputs),
        format="terramesh",
        files=len(files),
        input_bytes=sum(file.size for file in files),
        input_sha256=fingerprint(files),
        scenes=sum(chips.chips for chips in splits.values()),
        skipped=skipped,
        splits=splits,
        sums=Sums(**sums),
        encoding=encodings[0],
    )


def _total(columns: list[dict[str, np.ndarray]], key: str) -> list[Any]:
    """Return the column's sum over all samples, by band: exact for integers, else in the order of the samples."""
    values = np.concatenate([one[key] for one in columns])
    total = values.sum(axis=0, dtype=object if values.dtype.kind == "i" else np.float64)
    return [value.item() if isinstance(value, np.generic) else value for value in total]


def _dtype(name: str, shard: Shard) -> str:
    """Return the type of pixels, by the first sample that can be read. Raises UserError if none can."""
    skipped: list[dict[str, str]] = []
    for _, _, data in index.members(Path(shard.file.path), skipped, refuse=False):
        try:
            stored = index.parse(data).encoding.dtype
        except index.Bad:
            continue
        if (found := index.pixels_of(stored)) is None:
            raise UserError(
                f"data.sources.{name}",
                f"has pixels of {stored}",
                value=shard.file.path,
                use="int16, uint8 or float",
            )
        return found
    return "int16"
