"""Zarr and NetCDF cubes through xarray: (time, band, y, x), or a variable (time, y, x) for each band."""

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from slipway.data.imagery.chip import Date
from slipway.data.imagery.scenes.bands import MASKS
from slipway.data.imagery.scenes.model import BadScene, Candidate, Footprint, Layer, MaskKind, Scene

if TYPE_CHECKING:
    import numpy as np

_SPACE = ("y", "x")


@lru_cache(2)
def _opened(path: str) -> Any:
    """Return a cube with its numbers as they are stored. Raises BadScene if it cannot be read."""
    import xarray

    try:
        if path.endswith(".zarr"):
            return xarray.open_zarr(path, chunks=None, mask_and_scale=False)
        return xarray.open_dataset(path, engine="h5netcdf", mask_and_scale=False)
    except Exception as error:  # each library underneath has errors of its own
        raise BadScene(f"cannot be read: {_first_line(error)}") from error


def scenes_of(
    candidate: Candidate, bands: tuple[str, ...], names: Mapping[str, str], scale: float | None
) -> tuple[list[Scene], list[tuple[str, str]]]:
    """Return the scenes of a cube, and those that are bad, with reasons. Raises BadScene if all of it is bad."""
    ((_, path),) = candidate.files
    cube = _opened(path)
    layers, mask = _layers(cube, path, bands, names, scale)
    footprint = _footprint(cube, layers[0])
    layers = tuple(layer._replace(resolution=footprint.resolution) for layer in layers)
    found: dict[Date, Scene] = {}
    bad: list[tuple[str, str]] = []
    share = candidate.bytes // max(1, cube.sizes["time"])
    for index, (text, date) in enumerate(_times(cube)):
        name = f"{candidate.name} {text}"
        if date is None:
            bad.append((f"{path} {text}", "has no date"))
        elif date in found:
            bad.append((f"{path} {text}", f"is the same acquisition as {found[date].name}"))
        else:
            kind, of_mask = mask if mask else (None, None)
            found[date] = Scene(
                name,
                f"{path} {text}",
                candidate.tile,
                date,
                footprint,
                tuple(layer._replace(time=index) for layer in layers),
                of_mask and of_mask._replace(time=index, resolution=footprint.resolution),
                kind,
                share,
            )
    return list(found.values()), bad


def _layers(
    cube: Any, path: str, bands: tuple[str, ...], names: Mapping[str, str], scale: float | None
) -> tuple[tuple[Layer, ...], tuple[MaskKind, Layer] | None]:
    found: dict[str, Layer] = {}
    for variable, array in sorted(cube.data_vars.items()):
        if set(_SPACE) - set(array.dims) or "time" not in array.dims:
            continue
        height, width = array.sizes["y"], array.sizes["x"]
        nodata = array.attrs.get("_FillValue", array.attrs.get("missing_value"))
        if array.dtype.kind not in "iuf":
            continue
        by_file = float(array.attrs.get("scale_factor", 1.0)), float(array.attrs.get("add_offset", 0.0))
        called = [(str(variable), -1)]
        if "band" in array.dims:
            if "band" not in cube.coords:
                raise BadScene(f"has no names of the bands of {variable}, a coordinate `band`")
            called = [(str(value), index) for index, value in enumerate(cube["band"].values.tolist())]
        for spelled, index in called:
            name = names.get(spelled, spelled.lower())
            if name not in (*bands, *MASKS):
                continue
            factor, offset = (
                (1.0, 0.0) if name in MASKS else by_scale(by_file, scale, array.dtype.kind == "f", spelled)
            )
            layer = Layer(
                path,
                index,
                0.0,
                width,
                height,
                None if nodata is None else float(nodata),
                factor,
                offset,
                str(variable),
            )
            found.setdefault(name, layer)
    return pick(found, bands)


def by_scale(
    of_file: tuple[float, float], scale: float | None, floats: bool, name: str
) -> tuple[float, float]:
    """Return factor and offset that turn stored numbers into a chip's. Integers stay as they are without `scale`.

    Raises BadScene for floats without `scale`.
    """
    if scale is None:
        if floats:
            raise BadScene(f"holds floats in {name}; set the source's scale, such as 10000 for reflectance")
        return 1.0, 0.0
    return of_file[0] * scale, of_file[1] * scale


def pick(
    found: Mapping[str, Layer], bands: tuple[str, ...]
) -> tuple[tuple[Layer, ...], tuple[MaskKind, Layer] | None]:
    """Return the layers of the bands that are asked for, and the mask if there is one.

    Raises BadScene if one is missing.
    """
    if missing := [band for band in bands if band not in found]:
        raise BadScene(f"lacks {', '.join(missing)}; the source's names tell what its bands are called")
    kind: MaskKind | None = "fmask" if "fmask" in found else "scl" if "scl" in found else None
    return tuple(found[band] for band in bands), (kind, found[kind]) if kind else None


def _footprint(cube: Any, layer: Layer) -> Footprint:
    from slipway.data.imagery.scenes.rasters import epsg_of

    for axis in (*_SPACE, "time"):
        if axis not in cube.coords:
            raise BadScene(f"has no coordinate {axis}")
    x, y = (cube[axis].values.astype(float) for axis in ("x", "y"))
    if len(x) < 2 or len(y) < 2:
        raise BadScene(f"has {len(y)} x {len(x)} pixels")
    across, down = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    even = all(
        abs(values[i] - (values[0] + i * step)) < 0.01 * abs(step)
        for values, step in ((x, across), (y, down))
        for i in range(len(values))
    )
    if across <= 0 or not math.isclose(across, -down, rel_tol=1e-6) or not even:
        raise BadScene("has pixels that are not squares with north above: x must rise, y must fall, evenly")
    epsg = epsg_of(_crs(cube, layer), os.path.basename(layer.path))
    return Footprint(epsg, x[0] - across / 2, y[0] + across / 2, len(x) * across, len(y) * across, across)


def _crs(cube: Any, layer: Layer) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    mapping = str(cube[layer.variable].attrs.get("grid_mapping", "spatial_ref"))
    places = [cube[mapping].attrs] if mapping in cube.variables else []
    for attributes in (*places, cube[layer.variable].attrs, cube.attrs):
        for key in ("crs_wkt", "spatial_ref", "crs", "epsg"):
            if value := attributes.get(key):
                text = f"EPSG:{int(value)}" if not isinstance(value, str) else value
                try:
                    return CRS.from_user_input(f"EPSG:{text}" if text.isdigit() else text)
                except CRSError as error:
                    raise BadScene(
                        f"has a coordinate system that is not known: {_first_line(error)}"
                    ) from error
    raise BadScene("has no coordinate system: no spatial_ref with crs_wkt, and no attribute crs")


def _times(cube: Any) -> list[tuple[str, Date | None]]:
    import datetime

    import numpy as np

    times = cube["time"].values
    if times.dtype.kind != "M":
        raise BadScene("has a coordinate time that holds no dates")
    found: list[tuple[str, Date | None]] = []
    for time in times:
        if np.isnat(time):
            found.append(("NaT", None))
            continue
        text = str(time.astype("datetime64[D]"))
        found.append((text, Date(int(text[:4]), datetime.date.fromisoformat(text).timetuple().tm_yday)))
    return found


def read_rows(layer: Layer, first: int, end: int) -> "np.ndarray":
    """Return rows first to end of a layer as stored, [rows, columns] in full width.

    Raises BadScene if they cannot be read.
    """
    try:
        array = _opened(layer.path)[layer.variable].isel(time=layer.time, y=slice(first, end))
        array = array if layer.index < 0 else array.isel(band=layer.index)
        return array.transpose("y", "x").values
    except BadScene:
        raise
    except Exception as error:  # each library underneath has errors of its own
        raise BadScene(f"cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
