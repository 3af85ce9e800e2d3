"""The scenes that a source consists of, by the names of its files; no file is opened."""

import os
from typing import NamedTuple

from slipway.data.folders import ELSEWHERE, list_folder, state_of
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.scenes.bands import iso
from slipway.data.imagery.scenes.model import Candidate, Format
from slipway.data.imagery.scenes.products import CUBES, FINDERS, METADATA, RASTERS, Skipped, format_of
from slipway.data.inputs import FoundFile, LeftOut, expand
from slipway.errors import UserError

_READ = (*RASTERS, ".jp2", ".xml", *CUBES)


class Survey(NamedTuple):
    """The files and scenes that were found for a source."""

    format: Format
    files: list[FoundFile]
    """The files, in the order of their names."""
    candidates: list[Candidate]
    """The scenes, in the order of tiles, dates and names."""
    bad: list[Skipped]
    left_out: list[LeftOut]

    @property
    def bytes(self) -> int:
        """The size of the files that are read."""
        return sum(candidate.bytes for candidate in self.candidates)

    def __str__(self) -> str:
        dates = sorted(one.date for one in self.candidates if one.date)
        span = f", {iso(dates[0])} to {iso(dates[-1])}" if dates else ""
        tiles = len({one.tile for one in self.candidates})
        what = "cubes" if self.format == "cube" else f"scenes of {tiles:,} tiles"
        return f"{self.format}: {len(self.candidates):,} {what}{span}, in {len(self.files):,} files"


def survey(data: Data, name: str, source: Source, entries: list[str] | None = None) -> Survey:
    """Return the scenes of a source. Raises UserError if its files have no known format, or several.

    entries: in place of source.inputs.
    """
    files, left_out = _files(name, entries or source.inputs)
    return _sorted(data, name, source, files, left_out)


def find_files(name: str, source: Source) -> list[FoundFile]:
    """Return the files of a source. Raises UserError if they cannot be read."""
    return _files(name, source.inputs)[0]


def _files(name: str, entries: list[str]) -> tuple[list[FoundFile], list[LeftOut]]:
    found: list[FoundFile] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        where = f"data.sources.{name}.inputs[{index}]"
        for path in expand(entry, where):
            if not os.path.lexists(path):
                raise UserError(
                    where, f"does not exist (relative to {os.getcwd()})", value=path, do="correct the path"
                )
            state = state_of(path, where)
            if os.path.realpath(path) in seen:
                left_out.append(LeftOut(path, ELSEWHERE))
            elif os.path.isdir(path):
                listed = list_folder(path, (), _reason_against, where, seen)
                above = (
                    os.path.basename(os.path.abspath(path)) if path.rstrip(os.sep).endswith(".zarr") else ""
                )
                for inner in listed.files:
                    full = os.path.join(os.path.abspath(path), inner)
                    state = state_of(full, where)
                    name_in = os.path.join(above, inner)
                    found.append(FoundFile(full, name_in, state.st_size, state.st_mtime_ns))
                left_out += [
                    LeftOut(os.path.join(path, inner), why) for inner, why in listed.left_out.items()
                ]
            else:
                seen.add(os.path.realpath(path))
                base = os.path.basename(path)
                found.append(FoundFile(os.path.abspath(path), base, state.st_size, state.st_mtime_ns))
    if not found:
        raise UserError(
            f"data.sources.{name}.inputs",
            f"hold no scenes; {len(left_out)} other files were found",
            value=", ".join(entries),
            use="folders of HLS or Sentinel-2 granules, GeoTIFF files, Zarr or NetCDF cubes",
        )
    return sorted(found, key=lambda file: (file.name, file.path)), left_out


def _reason_against(name: str) -> str:
    in_zarr = any(part.endswith(".zarr") for part in name.split(os.sep)[:-1])
    ending = os.path.splitext(name)[1]
    return "" if in_zarr or ending in _READ else f"of type {ending or '(none)'}"


def _sorted(data: Data, name: str, source: Source, files: list[FoundFile], left_out: list[LeftOut]) -> Survey:
    where = f"data.sources.{name}"
    assert source.format != "terramesh"
    format: Format = _guessed(where, files) if source.format == "auto" else source.format
    for field in ("names", "scale") if format in ("hls", "sentinel2") else ():
        if value := getattr(source, field):
            raise UserError(
                f"{where}.{field}", f"has no effect with format {format}", value=value, do="remove it"
            )
    found = FINDERS[format](files, data.bands, data.resolution)
    candidates, doubles = _once(found.candidates)
    used = {path for one in candidates for _, path in one.files}
    unused = [
        LeftOut(file.path, "of bands that are not asked for")
        for file in files
        if format in ("hls", "sentinel2")
        and file.path not in used
        and format_of(file.name) == format
        and os.path.basename(file.name) != METADATA
    ]
    return Survey(format, files, candidates, sorted(found.bad + doubles), left_out + unused)


def _guessed(where: str, files: list[FoundFile]) -> Format:
    """Return the one format of all files, by their names. Raises UserError if there is none, or more than one."""
    of_format: dict[Format, str] = {}
    for file in files:
        in_zarr = any(part.endswith(".zarr") for part in file.path.split(os.sep))
        if kind := format_of("cube.zarr" if in_zarr else file.name):
            of_format.setdefault(kind, file.path)
    # rasters among granules are bad granules
    known: list[Format] = [one for one in of_format if one != "raster"] or list(of_format)
    if len(known) != 1:
        examples = "; ".join(f"{one}: {path}" for one, path in of_format.items())
        raise UserError(
            f"{where}.inputs",
            f"hold files of {len(known)} formats ({examples or files[0].path})",
            do=f"set {where}.format, and give each format a source of its own",
        )
    return known[0]


def _once(candidates: list[Candidate]) -> tuple[list[Candidate], list[Skipped]]:
    """Return each acquisition once, and those that are left out.

    Left out are copies of a granule, and products of an earlier processing baseline.
    """
    kept: dict[tuple[object, ...], Candidate] = {}
    doubles: list[Skipped] = []
    for one in sorted(candidates, key=lambda one: (one.name, one.path)):
        # S2A_T32UMV_20210503T102021_N0300: of the same acquisition the latest baseline comes last
        base = one.name.rpartition("_N")[0] if one.format == "sentinel2" else one.name
        key = (one.format, base, one.tile)
        if other := kept.get(key):
            worse, better = (one, other) if other.name == one.name else (other, one)
            doubles.append(Skipped(worse.path, f"is the same acquisition as {better.path}"))
            kept[key] = better
        else:
            kept[key] = one
    return sorted(kept.values(), key=lambda one: (one.tile, one.date or (0, 0), one.name)), doubles
