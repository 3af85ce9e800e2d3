"""Checks before scenes are opened: the folder, the packages, and whether the inputs are still the same."""

import os
from collections.abc import Iterable
from importlib.util import find_spec

from slipway.data.destination import check_destination, check_room
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.layout import Layout
from slipway.data.imagery.manifest import GENERATED, Manifest
from slipway.data.imagery.scenes.survey import Survey, find_files
from slipway.data.imagery.terramesh import source as terramesh
from slipway.data.inputs import changed
from slipway.errors import UserError

_RASTERIO = ("rasterio",)
_NEEDED = {"cube": ("rasterio", "xarray", "zarr", "h5netcdf")}


def changed_inputs(data: Data, found: Manifest) -> list[UserError]:
    """Return an error for each source whose inputs have changed since they were read.

    Inputs that no longer exist are not compared.
    """
    return [change for name in data.sources if (change := _changed(data, found, name))]


def _changed(data: Data, found: Manifest, name: str) -> UserError | None:
    source, record = data.sources[name], found.sources[name]
    if source.inputs == [GENERATED] or not all(os.path.exists(place) for place in record.places):
        return None
    if record.format == "terramesh":
        return changed(
            name, lambda: [one.file for one in terramesh.survey(name, source.inputs)], record, data.dir
        )
    return changed(name, lambda: find_files(name, source), record, data.dir)


def is_generated(name: str, source: Source) -> bool:
    """Return whether the project generates the source. Raises UserError if it would generate only a part of it."""
    if GENERATED in source.inputs and len(source.inputs) > 1:
        raise UserError(
            f"data.sources.{name}.inputs",
            f"lists {GENERATED} together with other entries",
            value=source.inputs,
            do=f"put {GENERATED} into a source of its own",
        )
    if source.inputs == [GENERATED] and source.format not in ("auto", "hls"):
        raise UserError(
            f"data.sources.{name}.format",
            "does not fit generated scenes",
            value=source.format,
            use="auto",
        )
    return source.inputs == [GENERATED]


def needed(surveys: Iterable[Survey], meshes: Iterable[object]) -> list[str]:
    """Return the packages on which the content of the files depends."""
    packages = {package for one in surveys for package in _NEEDED.get(one.format, _RASTERIO)}
    return sorted({"numpy", *packages, *(["numcodecs"] if list(meshes) else [])})


def check_installed(name: str, format: str) -> None:
    """Raise UserError if a package that reads this format is missing."""
    for package in _NEEDED.get(format, _RASTERIO):
        if not find_spec(package):
            raise UserError(
                f"data.sources.{name}.inputs",
                f"needs {package}, which is not installed here",
                do="run `pip install slipway[earth]`",
            )


def check_folder(data: Data) -> None:
    """Raise UserError unless the folder, or its nearest existing parent, can be written without losing files."""
    from slipway.data.imagery.shards import shard_name, table_name

    names = [
        file
        for name in data.sources
        for file in (shard_name(name, "training", 0), table_name(name, "training"))
    ]
    inputs = {
        f"data.sources.{name}.inputs": ["" if entry == GENERATED else entry for entry in source.inputs]
        for name, source in data.sources.items()
    }
    check_destination(data.dir, names, inputs)
    chip = Layout(data.num_frames, len(data.bands), data.chip_size).pixel_bytes
    check_room(data.dir, 2 * chip, f"a chip has {chip / 1e9:.3f} GB (twice while shards are put together)")
