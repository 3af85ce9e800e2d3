"""Generated scenes as files: granules in the form that HLS distributes, so that code for those reads these."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.chip import NODATA, Date
from slipway.data.imagery.generated.scene import SCALE, scene
from slipway.files import flush

if TYPE_CHECKING:
    import numpy as np

PLACES = 32
"""The number of places that the input `generated` has."""
SIZE = 192
"""Pixels of a place, in height and in width."""
_YEAR = 2021
_HLS_NODATA = -9999
_NAMES = {
    "L30": ("B02", "B03", "B04", "B05", "B06", "B07"),
    "S30": ("B02", "B03", "B04", "B8A", "B11", "B12"),
}
_PIXEL = 30.0  # metres


class Place(NamedTuple):
    """A piece of land that is generated."""

    seed: int
    tile: str
    """The tile's name in the form of HLS; the letters are made up."""
    epsg: int
    left: float
    top: float


def place(number: int) -> Place:
    """Return the place of a number: in zones 30 to 33, from 44 degrees north, over half a degree from all others."""
    zone, index = 30 + number % 4, number // 4
    row, column = divmod(index, 4)
    left, top = 300_000 + 105_000 * column, 4_900_200 + 180_000 * row
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    second, third = divmod(index, len(letters))
    return Place(
        number, f"{zone}{letters[row % 24]}{letters[second]}{letters[third]}", 32600 + zone, left, top
    )


def days(number: int) -> list[tuple[str, Date]]:
    """Return the acquisitions of a place over a year: one sensor every few weeks, sometimes both on a day."""
    found = []
    for step in range(11):
        day = 14 + 32 * step + (7 * number) % 17
        found.append((("L30", "S30")[(step + number) % 2], Date(_YEAR, day)))
        if (step + number) % 9 == 4:
            found.append((("S30", "L30")[(step + number) % 2], Date(_YEAR, day)))
    return found


def write_place(folder: Path, number: int, size: int = SIZE) -> Path:
    """Write the granules of a place into a folder of its own, whole or not at all; return it. Needs rasterio."""
    where = place(number)
    path = folder / f"T{where.tile}"
    if path.is_dir():
        return path
    beside = folder / f".T{where.tile}.{os.getpid()}.tmp"
    beside.mkdir(parents=True)
    try:
        acquisitions = days(number)
        generated = scene(where.seed, size, [date for _, date in acquisitions])
        for (sensor, date), pixels, fmask in zip(
            acquisitions, generated.pixels, generated.fmask, strict=True
        ):
            write_granule(beside, where, sensor, date, pixels, fmask)
        os.replace(beside, path)
        flush(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return path


def write_granule(
    folder: Path, where: Place, sensor: str, date: Date, pixels: "np.ndarray", fmask: "np.ndarray"
) -> str:
    """Write a granule as a GeoTIFF for each band and one for Fmask; return its name.

    pixels: int16 [6, height, width], NODATA where no value is known. fmask: uint8 [height, width].
    """
    import numpy as np
    import rasterio

    name = f"HLS.{sensor}.T{where.tile}.{date.year}{date.day_of_year:03}T103021.v2.0"
    block = min(256, -(-pixels.shape[1] // 16) * 16)
    options = {
        "driver": "GTiff",
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "count": 1,
        "crs": f"EPSG:{where.epsg}",
        "transform": rasterio.Affine(_PIXEL, 0.0, where.left, 0.0, -_PIXEL, where.top),
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "compress": "deflate",
    }
    for band, values in zip(_NAMES[sensor], pixels, strict=True):
        path = folder / f"{name}.{band}.tif"
        with rasterio.open(
            path, "w", dtype="int16", nodata=_HLS_NODATA, predictor=2, zlevel=1, **options
        ) as file:
            file.write(np.where(values == NODATA, np.int16(_HLS_NODATA), values), 1)
            file.scales = (SCALE,)
    with rasterio.open(folder / f"{name}.Fmask.tif", "w", dtype="uint8", nodata=255, **options) as file:
        file.write(fmask, 1)
    return name
