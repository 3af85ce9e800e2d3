"""A chip: the piece of scenes that preparation cuts out, shards store and training reads."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

NODATA = -32768
"""The value of pixels that were not measured, or that a mask hides."""


class Date(NamedTuple):
    """The day of an acquisition, UTC."""

    year: int
    day_of_year: int
    """The day, counted from 1."""


class Chip(NamedTuple):
    """One place at several dates."""

    pixels: "np.ndarray"
    """int16 [dates, bands, height, width], NODATA where no value is known."""
    dates: tuple[Date, ...]
    latitude: float
    """The centre's latitude in degrees north (WGS 84)."""
    longitude: float
    """The centre's longitude in degrees east."""
    epsg: int
    """The EPSG number of the coordinates that `transform` leads to."""
    transform: tuple[float, float, float, float, float, float]
    """The transform from (column, row) to coordinates, as in rasterio: a, b, c, d, e, f."""
    valid: tuple[float, ...]
    """Share of the pixels that were measured in every band, by date."""
    cloudy: tuple[float, ...]
    """Share of the pixels under clouds or their shadows, by date; nan if no mask tells."""
    place: str
    """Names the place for people, and decides its split: chips that share ground have the same one."""
    scenes: tuple[str, ...]
    """The scenes that it was cut from, by date."""
