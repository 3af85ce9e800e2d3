"""A generated scene: one place, seen at several dates, with the land cover that is known of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.chip import NODATA, Date
from slipway.data.imagery.generated.land import WATER, make_land
from slipway.data.imagery.generated.season import ground
from slipway.data.imagery.generated.sky import look

if TYPE_CHECKING:
    import numpy as np

BANDS = ("blue", "green", "red", "nir_narrow", "swir_1", "swir_2")
"""The bands of a scene's pixels, in their order; see slipway.data.imagery.config.Band."""
SCALE = 1e-4
"""The reflectance of one unit of the pixels, as in HLS."""
_LEAST, _MOST = -2000, 16000


class Scene(NamedTuple):
    """A scene in arrays of `size` pixels of 30 m in height and width, clouds included."""

    pixels: "np.ndarray"
    """int16 [dates, bands, size, size], reflectance in units of SCALE, NODATA beyond the edge of the swath."""
    labels: "np.ndarray"
    """uint8 [size, size], numbers of CLASSES."""
    fmask: "np.ndarray"
    """uint8 [dates, size, size], bits as in HLS: see slipway.data.imagery.generated.sky."""


def scene(seed: int, size: int, days: Sequence[Date]) -> Scene:
    """Return the place of this seed on these days, in their order: seed and size decide its land, the day its weather.

    The numbers are the same in every process on a machine; elsewhere a few pixels may differ by one unit, since
    libraries and processors round Fourier transforms differently.
    """
    import numpy as np

    land = make_land(seed, size)
    pixels = np.empty((len(days), len(BANDS), size, size), np.int16)
    fmask = np.empty((len(days), size, size), np.uint8)
    for i, day in enumerate(days):
        on_ground = ground(seed, land, day.day_of_year)
        # of two acquisitions of a day each has its own sky
        seen = look((seed, *day, list(days[:i]).count(day)), day.day_of_year, on_ground, land.labels == WATER)
        values = np.clip(np.rint(seen.reflectance / SCALE), _LEAST, _MOST)
        pixels[i] = np.where(seen.measured, values, NODATA)
        fmask[i] = seen.fmask
    return Scene(pixels, land.labels, fmask)
