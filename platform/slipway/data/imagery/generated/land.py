"""The ground of a generated scene: its land cover, parcels and relief, the same at every date."""

from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.generated.patterns import contour, fractal, highest, parcels, stream

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("cropland", "grassland", "deciduous forest", "conifer forest", "built-up", "water")
"""Land cover, by label."""
CROPLAND, GRASSLAND, DECIDUOUS, CONIFER, BUILT, WATER = range(len(CLASSES))

_PARCEL = 15.0  # pixels of 30 m: fields of some 20 hectares
_BLOCK = 3.5  # of houses


class Land(NamedTuple):
    """The ground's properties in arrays [size, size], except those by parcel."""

    labels: "np.ndarray"
    """uint8, the number of each pixel's land cover in CLASSES."""
    parcel: "np.ndarray"
    """int32, the number of each pixel's parcel."""
    parcels: int
    texture: "np.ndarray"
    """float32, the ratio of a pixel's reflectance to its surroundings', about 1."""
    slopes: tuple["np.ndarray", "np.ndarray"]
    """float32, the relief's slopes to the south and to the east; their standard deviation is about 1."""


def make_land(seed: int, size: int) -> Land:
    """Return the ground that follows from the seed."""
    import numpy as np

    random = stream("land", seed)
    parcel = parcels(random, size, _PARCEL, bend=4.0)
    count = int(parcel.max()) + 1
    relief = fractal(random, size, 3.2, 192)
    # people clear whole parcels: what grows where follows the relief partly by pixels, partly by parcels
    members = np.bincount(parcel.ravel(), minlength=count)
    by_parcel = np.bincount(parcel.ravel(), relief.ravel(), count) / members + random.normal(0, 0.35, count)
    suited = 0.4 * relief + 0.6 * by_parcel[parcel]

    labels = np.where(random.random(count) < 0.72, CROPLAND, GRASSLAND).astype(np.uint8)[parcel]
    wooded = highest(suited, random.uniform(0.15, 0.35))
    conifers = relief + 0.8 * fractal(random, size, 3.0, 64) > random.normal(1.0, 0.3)
    labels[wooded] = np.where(conifers, CONIFER, DECIDUOUS)[wooded]
    town = highest(fractal(random, size, 2.8, 48) - 0.5 * relief, random.uniform(0.03, 0.09))
    labels[town] = BUILT
    basins = fractal(random, size, 4.2, 160) - 0.6 * relief
    labels[highest(basins, random.uniform(0.005, 0.06))] = WATER
    river = fractal(random, size, 5.5, 220) + random.normal(0, 0.4)
    labels[contour(river, random.uniform(2.0, 4.5))] = WATER
    road = contour(fractal(random, size, 6.0, 160) + random.normal(0, 0.3), 1.6)
    labels[road & (labels != WATER)] = BUILT
    return Land(labels, parcel, count, _texture(random, labels), _slopes(relief))


def _texture(random: "np.random.Generator", labels: "np.ndarray") -> "np.ndarray":
    """Return crowns and clearings, houses and gardens, furrows, currents: each cover is uneven in its own degree."""
    import numpy as np

    size = len(labels)
    amplitude = np.array([0.04, 0.06, 0.12, 0.14, 0.10, 0.05], np.float32)[labels]
    texture = 1 + amplitude * np.clip(fractal(random, size, 1.6, 24), -3, 3)
    block = parcels(random, size, _BLOCK, bend=0.5)
    brightness = random.uniform(0.55, 1.6, int(block.max()) + 1).astype(np.float32)
    return np.where(labels == BUILT, texture * brightness[block], texture).astype(np.float32)


def _slopes(relief: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    import numpy as np

    south, east = np.gradient(relief)
    steepness = np.sqrt((south**2 + east**2).mean() / 2)
    return south / steepness, east / steepness
