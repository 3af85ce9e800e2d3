"""The headers of scenes, checked: all bands lie on one piece of ground, and no file is cut off."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from slipway.data.imagery.chip import Date
from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.config import Source
from slipway.data.imagery.scenes import cube, rasters
from slipway.data.imagery.scenes.bands import MASKS
from slipway.data.imagery.scenes.cube import by_scale, pick
from slipway.data.imagery.scenes.ground import Ground, ground_of
from slipway.data.imagery.scenes.model import BadScene, Candidate, Footprint, Layer, MaskKind, Scene
from slipway.data.imagery.scenes.products import Skipped
from slipway.data.imagery.scenes.rasters import Header
from slipway.data.imagery.scenes.tiles import Grid


class Inspected(NamedTuple):
    """The scenes found in candidates, and those that are bad."""

    scenes: list[Scene]
    bad: list[Skipped]


def inspect(candidates: list[Candidate], data: Data, source: Source) -> Inspected:
    """Read the headers of candidates and return their scenes. A bad one is reported, and does not affect the others."""
    found = Inspected([], [])
    with rasters.library():
        for candidate in candidates:
            try:
                if candidate.format == "cube":
                    scenes, bad = cube.scenes_of(candidate, data.bands, source.names, source.scale)
                    found.bad.extend(Skipped(*one) for one in bad)
                    found.scenes.extend(scenes)
                elif candidate.format == "raster":
                    found.scenes.append(_raster(candidate, data.bands, source.names, source.scale))
                else:
                    found.scenes.append(_granule(candidate, data.bands))
            except BadScene as error:
                found.bad.append(Skipped(candidate.path, str(error)))
    return found


def locate(grid: Grid, chip_size: int) -> tuple[Ground, list[Ground]]:
    """Return the position of a tile on the globe, and of each of its windows, row by row."""
    from rasterio.warp import transform

    def ground(row: float, column: float, height: float, width: float) -> Ground:
        # centre, corners, middles of the edges
        steps = [(0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1)]
        x = [grid.left + (column + right * width) * grid.resolution for _, right in steps]
        y = [grid.top - (row + down * height) * grid.resolution for down, _ in steps]
        longitudes, latitudes, *_ = transform(f"EPSG:{grid.epsg}", "EPSG:4326", x, y)
        return ground_of(latitudes, longitudes)

    with rasters.library():
        windows = [
            ground(row * chip_size, column * chip_size, chip_size, chip_size)
            for row in range(grid.height // chip_size)
            for column in range(grid.width // chip_size)
        ]
        return ground(0, 0, grid.height, grid.width), windows


def _granule(candidate: Candidate, bands: tuple[str, ...]) -> Scene:
    headers = {band: rasters.read_header(path) for band, path in candidate.files}
    paths = dict(candidate.files)
    footprint = _common(headers, paths, bands)
    _check_tile(candidate, footprint.epsg)
    if candidate.format == "hls":
        _check_day(candidate, paths[bands[0]])
    offsets = dict(candidate.offsets)
    kind: MaskKind = "fmask" if candidate.format == "hls" else "scl"
    nodata = -9999 if candidate.format == "hls" else 0
    layers = {
        band: _layer(paths[band], 1, header, header.nodata if header.nodata is not None else nodata)
        for band, header in headers.items()
    }
    for band, header in headers.items():
        if header.floats:
            raise BadScene(f"holds floats in {os.path.basename(paths[band])}, where integers are due")
    return Scene(
        candidate.name,
        candidate.path,
        candidate.tile,
        _date(candidate),
        footprint,
        tuple(layers[band]._replace(offset=offsets.get(band, 0.0)) for band in bands),
        layers[kind],
        kind,
        candidate.bytes,
    )


def _raster(
    candidate: Candidate, bands: tuple[str, ...], names: Mapping[str, str], scale: float | None
) -> Scene:
    ((_, path),) = candidate.files
    header = rasters.read_header(path)
    found: dict[str, Layer] = {}
    for index, description in enumerate(header.bands, 1):
        spelled = description or str(index)
        name = names.get(spelled, names.get(str(index), spelled.lower()))
        if name not in (*bands, *MASKS) or name in found:
            continue
        of_file = header.scales[index - 1], header.offsets[index - 1]
        factor, offset = (1.0, 0.0) if name in MASKS else by_scale(of_file, scale, header.floats, spelled)
        found[name] = _layer(path, index, header, header.nodata)._replace(scale=factor, offset=offset)
    layers, mask = pick(found, bands)
    kind, of_mask = mask if mask else (None, None)
    footprint = _common({"": header}, {"": path}, ("",))
    return Scene(
        candidate.name,
        path,
        candidate.tile,
        _date(candidate),
        footprint,
        layers,
        of_mask,
        kind,
        candidate.bytes,
    )


def _layer(path: str, index: int, header: Header, nodata: float | None) -> Layer:
    return Layer(path, index, header.resolution, header.width, header.height, nodata)


def _date(candidate: Candidate) -> Date:
    assert candidate.date is not None
    return candidate.date


def _common(headers: Mapping[str, Header], paths: Mapping[str, str], bands: tuple[str, ...]) -> Footprint:
    """Return the ground that all bands share. Raises BadScene if one lies elsewhere or has another shape."""
    first = headers[bands[0]]
    name = os.path.basename(paths[bands[0]])
    for band, header in headers.items():
        base = os.path.basename(paths[band])
        if header.epsg != first.epsg:
            raise BadScene(f"has {base} in EPSG:{header.epsg}, but {name} in EPSG:{first.epsg}")
        slack = 0.01 * min(header.resolution, first.resolution)
        if abs(header.left - first.left) > slack or abs(header.top - first.top) > slack:
            raise BadScene(
                f"has {base} from {header.left:.10g}, {header.top:.10g}, but {name} from {first.left:.10g}, "
                f"{first.top:.10g}"
            )
        for one, other in ((header.width, first.width), (header.height, first.height)):
            if abs(one * header.resolution - other * first.resolution) > slack:
                raise BadScene(
                    f"has {header.height} x {header.width} pixels of {header.resolution:g} m in {base}, but "
                    f"{first.height} x {first.width} of {first.resolution:g} m in {name}"
                )
    return Footprint(
        first.epsg,
        first.left,
        first.top,
        first.width * first.resolution,
        first.height * first.resolution,
        min(headers[band].resolution for band in bands),
    )


def _check_tile(candidate: Candidate, epsg: int) -> None:
    """Raise BadScene unless the coordinates are those of the UTM zone with which the tile's name begins.

    They are of the north or of the south (HLS: always north).
    """
    zone = int(candidate.tile[:2])
    if epsg not in (32600 + zone, 32700 + zone):
        raise BadScene(f"is in EPSG:{epsg}, but tile T{candidate.tile} is in UTM zone {zone}")


def _check_day(candidate: Candidate, path: str) -> None:
    """Raise BadScene if HLS's own note says that a granule was taken on another day than its name says.

    There are several notes if it is made of several images.
    """
    from slipway.data.imagery.scenes.bands import date_in

    noted = re.split(r"[;,]\s*", rasters.sensing_time(path))
    days = {dated[0] for text in noted if (dated := date_in(text))}
    if days and candidate.date not in days:
        year, day = min(days)
        raise BadScene(f"was taken in {year} on day {day}, other than its name says")
