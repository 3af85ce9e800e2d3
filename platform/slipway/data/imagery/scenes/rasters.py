"""GeoTIFF and JPEG 2000 through rasterio: headers, and rows of one band. Each read opens its file and closes it."""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from slipway.data.imagery.scenes.model import BadScene, Layer

if TYPE_CHECKING:
    import numpy as np

CACHE_BYTES = 64 << 20
"""The size of GDAL's cache of blocks in each process; whole rows of blocks are read, so little is read twice."""


class Header(NamedTuple):
    """The description of the pixels in a file."""

    epsg: int
    left: float
    top: float
    resolution: float
    width: int
    height: int
    nodata: float | None
    floats: bool
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]


@contextmanager
def library() -> Iterator[None]:
    """Set up GDAL: one thread, a bounded cache, no requests, no sidecar files of other programs."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    # As a number it is bytes (in the environment it would be megabytes).
    options = {
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_NUM_THREADS": "1",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }
    with rasterio.Env(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import RasterioError

    base = os.path.basename(path)
    driver = "JP2OpenJPEG" if path.endswith(".jp2") else "GTiff"
    try:
        with rasterio.open(path, driver=driver, sharing=False) as file:
            yield file
    except RasterioError as error:
        cause = error.__cause__ or error
        text = str(cause).replace(path, base)
        raise BadScene(f"cannot be read: {base}: {text}".rstrip(".")) from error


def read_header(path: str) -> Header:
    """Return a file's header, and check that all its blocks exist.

    Raises BadScene if blocks or the coordinate system are missing, or pixels are not squares with north above.
    """
    base = os.path.basename(path)
    with _opened(path) as file:
        _check_whole(file, base)  # of a file that was cut off, other things are missing, too
        a, b, _, d, e, _ = file.transform[:6]
        if file.crs is None:
            raise BadScene(f"has no coordinate system in {base}")
        if b or d or a <= 0 or not math.isclose(a, -e, rel_tol=1e-6):
            raise BadScene(f"has pixels in {base} that are not squares with north above")
        return Header(
            epsg_of(file.crs, base),
            file.transform.c,
            file.transform.f,
            a,
            file.width,
            file.height,
            file.nodata,
            file.dtypes[0].startswith("float"),
            tuple(name or "" for name in file.descriptions),
            tuple(file.scales),
            tuple(file.offsets),
        )


def sensing_time(path: str) -> str:
    """Return HLS's own note of when a granule was taken; empty if there is none."""
    with _opened(path) as file:
        return str(file.tags().get("SENSING_TIME", ""))


def epsg_of(crs: Any, base: str) -> int:
    """Return the EPSG number of a projected coordinate system in metres. Raises BadScene for any other system."""
    if not crs.is_projected:
        raise BadScene(f"has coordinates in degrees in {base}; project it to metres, such as UTM, first")
    if number := crs.to_epsg():
        return int(number)
    known = crs.to_dict()
    if known.get("proj") == "utm" and known.get("datum", known.get("ellps")) == "WGS84":
        return (32700 if known.get("south") else 32600) + int(known["zone"])
    raise BadScene(f"has a coordinate system without EPSG number in {base}")


def _check_whole(file: Any, base: str) -> None:
    """Raise BadScene if the file was cut off, so that a block would lie beyond its end."""
    if file.driver != "GTiff":
        return
    size = os.path.getsize(file.name)
    for band in range(1, file.count + 1):
        rows, columns = file.block_shapes[band - 1]
        for row in range(-(-file.height // rows)):
            for column in range(-(-file.width // columns)):
                name = f"{column}_{row}"
                offset = file.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=band)
                length = file.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=band)
                if offset and int(offset) + int(length or 0) > size:
                    raise BadScene(
                        f"is cut off: {base} has {size} bytes, but a block ends at {int(offset) + int(length)}"
                    )


def read_rows(layer: Layer, first: int, end: int) -> "np.ndarray":
    """Return rows first to end of a layer as stored, [rows, columns] in full width.

    Raises BadScene if they cannot be read.
    """
    with _opened(layer.path) as file:
        return file.read(layer.index, window=((first, end), (0, layer.width)))
