"""Rows of a scene on its tile's grid: the numbers of a chip, and the meaning of its mask."""

from typing import TYPE_CHECKING

from slipway.data.imagery.chip import NODATA
from slipway.data.imagery.scenes import cube, rasters
from slipway.data.imagery.scenes.model import Layer, MaskKind, Scene
from slipway.data.imagery.scenes.sampling import is_identity, nearest, resample, taps
from slipway.data.imagery.scenes.tiles import Grid

if TYPE_CHECKING:
    import numpy as np

_MOST = 32767
_FMASK_CLOUD = 1 << 1 | 1 << 3  # clouds and shadows; not what is merely beside them
_FMASK_FILL = 255
_SCL_CLOUD = (3, 8, 9, 10)  # shadow, cloud of medium and of high probability, cirrus
_SCL_FILL = 0


def read_mask(scene: Scene, grid: Grid, first: int, end: int) -> tuple["np.ndarray", "np.ndarray"] | None:
    """Return which pixels are cloudy and which are measured, bool [rows, columns], in rows first to end.

    None if there is no mask. Raises BadScene if it cannot be read.
    """
    if scene.mask is None or scene.mask_kind is None:
        return None
    layer = scene.mask
    rows = nearest(first, end, grid.resolution, layer.resolution, layer.height)
    columns = nearest(0, grid.width, grid.resolution, layer.resolution, layer.width)
    stored = _stored(layer, int(rows[0]), int(rows[-1]) + 1)
    return meaning(stored[rows - rows[0]][:, columns], scene.mask_kind)


def meaning(mask: "np.ndarray", kind: MaskKind) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the pixels with clouds or shadows, and those that were measured, bool in the shape of the mask."""
    import numpy as np

    if kind == "fmask":
        measured = mask != _FMASK_FILL
        return (mask & _FMASK_CLOUD != 0) & measured, measured
    return np.isin(mask, _SCL_CLOUD), mask != _SCL_FILL


def read_bands(scene: Scene, grid: Grid, first: int, end: int) -> "np.ndarray":
    """Return rows first to end of all bands, int16 [bands, rows, columns], NODATA where no value is known.

    Raises BadScene if they cannot be read.
    """
    import numpy as np

    found = np.empty((len(scene.layers), end - first, grid.width), np.int16)
    for band, layer in enumerate(scene.layers):
        found[band] = _on_grid(layer, grid, first, end)
    return found


def _on_grid(layer: Layer, grid: Grid, first: int, end: int) -> "np.ndarray":
    import numpy as np

    rows = taps(first, end, grid.resolution, layer.resolution, layer.height)
    columns = taps(0, grid.width, grid.resolution, layer.resolution, layer.width)
    start = rows.first
    stored = _stored(layer, start, rows.end)
    known = _known(stored, layer.nodata)
    if is_identity(rows) and layer.scale == 1 and layer.offset == 0 and stored.dtype == np.int16:
        return np.where(known, stored, np.int16(NODATA))[:, : grid.width]
    values = stored * np.float64(layer.scale) + layer.offset
    if is_identity(rows):
        values, known = values[:, : grid.width], known[:, : grid.width]
    else:
        values, known = resample(values, known, rows._replace(index=rows.index - start), columns)
    # what is known stays apart from NODATA, and what is brighter than int16 can tell is as bright as that
    numbers = np.clip(np.rint(np.where(known, values, 0)), NODATA + 1, _MOST)
    return np.where(known, numbers, NODATA).astype(np.int16)


def _known(stored: "np.ndarray", nodata: float | None) -> "np.ndarray":
    import numpy as np

    known = np.isfinite(stored) if stored.dtype.kind == "f" else np.ones(stored.shape, bool)
    return known if nodata is None or nodata != nodata else known & (stored != nodata)


def _stored(layer: Layer, first: int, end: int) -> "np.ndarray":
    return (cube if layer.variable else rasters).read_rows(layer, first, end)
