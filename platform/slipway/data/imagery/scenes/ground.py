"""The position of chips on the globe, and the places by which they are assigned to splits."""

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

CELL = 0.5
"""The size of a place in degrees, in latitude and in longitude."""
# Degrees, about 10 m and 200 m: edges of a projected rectangle are no straight lines, the less so the longer they are.
_MARGIN, _MARGIN_OF_TILE = 1e-4, 2e-3


class Ground(NamedTuple):
    """The ground of a window or of a tile, in degrees; over the antimeridian longitudes run on beyond 180."""

    latitude: float
    longitude: float
    south: float
    west: float
    north: float
    east: float

    def meets(self, other: "Ground") -> bool:
        """Return whether both may have ground in common."""
        slack = _MARGIN_OF_TILE
        if self.north + slack < other.south or other.north + slack < self.south:
            return False
        return any(
            self.west <= other.east + turn + slack and other.west + turn <= self.east + slack
            for turn in (-360, 0, 360)
        )

    @property
    def place(self) -> str:
        """The name of the centre's cell, by its southwestern corner, whatever the tile and its zone."""
        south, west = floor(self.latitude / CELL) * CELL, floor(_wrapped(self.longitude) / CELL) * CELL
        return f"{abs(south):04.1f}{'NS'[south < 0]} {abs(west):05.1f}{'EW'[west < 0]}"

    @property
    def is_in_one_cell(self) -> bool:
        """Whether no part of it belongs to another cell."""
        return floor((self.south - _MARGIN) / CELL) == floor((self.north + _MARGIN) / CELL) and floor(
            (self.west - _MARGIN) / CELL
        ) == floor((self.east + _MARGIN) / CELL)


def ground_of(latitudes: Sequence[float], longitudes: Sequence[float]) -> Ground:
    """Return the ground of a rectangle from its centre, followed by points of its border."""
    # near the antimeridian longitudes jump by 360: count them from the centre
    centre = _wrapped(longitudes[0])
    around = [centre + _wrapped(one - centre) for one in longitudes[1:]]
    return Ground(latitudes[0], centre, min(latitudes[1:]), min(around), max(latitudes[1:]), max(around))


def _wrapped(longitude: float) -> float:
    return (longitude + 180) % 360 - 180
