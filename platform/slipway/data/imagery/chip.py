"""A chip: what preparation cuts out of scenes, shards store and training reads."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

NODATA = -32768
"""In the pixels of a chip: nothing was measured, or it is hidden by what a mask says."""


class Date(NamedTuple):
    """The day of an acquisition, UTC."""

    year: int
    day_of_year: int
    """From 1."""


class Chip(NamedTuple):
    """One place at several dates."""

    pixels: "np.ndarray"
    """int16 [dates, bands, height, width], NODATA where nothing is known."""
    dates: tuple[Date, ...]
    latitude: float
    """Of the centre, in degrees north (WGS 84)."""
    longitude: float
    """Of the centre, in degrees east."""
    epsg: int
    """Of the coordinates that `transform` leads to."""
    transform: tuple[float, float, float, float, float, float]
    """From (column, row) to coordinates, as in rasterio: a, b, c, d, e, f."""
    valid: tuple[float, ...]
    """Share of the pixels that were measured in every band, by date."""
    cloudy: tuple[float, ...]
    """Share of the pixels under clouds or their shadows, by date; nan where no mask says so."""
    place: str
    """Names the place for people, and decides its split: chips that share ground have the same one."""
    scenes: tuple[str, ...]
    """Where it was cut from, by date."""
