"""Chips of generated scenes with their known land cover, for probes. Imports no torch."""

from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.chip import Date
from slipway.data.imagery.generated.patterns import stream
from slipway.data.imagery.generated.scene import scene
from slipway.data.imagery.generated.sky import CLOUD, SHADOW
from slipway.models.mae.config import Config

if TYPE_CHECKING:
    import numpy as np

CHIPS_ACROSS = 4
YEAR = 2021
FIRST_DAY, LAST_DAY = 60, 330


class Labelled(NamedTuple):
    """Chips, all from places that training does not use."""

    pixels: "np.ndarray"
    """int16 [chips, dates, bands, size, size], with the clouds and swath edges that the clearer days have."""
    labels: "np.ndarray"
    """uint8 [chips, size, size], numbers of slipway.data.imagery.generated.land.CLASSES."""
    dates: "np.ndarray"
    """int64 [chips, dates, 2]: year, day of the year."""
    location: "np.ndarray"
    """float64 [chips, 2]: latitude, longitude; the scenes lie in the same region as training's generated ones."""


def labelled(model: Config, names: tuple[object, ...], scenes: int) -> Labelled:
    """Return so many scenes, which follow from the names, each cut into CHIPS_ACROSS x CHIPS_ACROSS chips."""
    import numpy as np

    size = model.image_size
    parts: list[tuple[np.ndarray, ...]] = []
    for number in range(scenes):
        random = stream("probe", *names, number)
        days = dates(random, model.num_frames)
        seen = scene(int(random.integers(1 << 40, 1 << 41)), CHIPS_ACROSS * size, [*days[0], *days[1]])
        chosen = clearer(seen.fmask, model.num_frames)
        days = [(days[0] + days[1])[one] for one in chosen]
        pixels = _cut(seen.pixels[chosen], size)
        parts.append((pixels, _cut(seen.labels, size), np.array([days] * len(pixels))))
    pixels, labels, days = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Labelled(pixels, labels, days, np.tile([50.0, 10.0], (len(pixels), 1)))


def dates(random: "np.random.Generator", number: int) -> tuple[list[Date], list[Date]]:
    """Return two lists of so many days: an early and a late day from each of equal parts of the growing season."""
    length = (LAST_DAY - FIRST_DAY) / number

    def between(least: float, most: float) -> list[Date]:
        return [
            Date(YEAR, FIRST_DAY + int(length * (at + random.uniform(least, most)))) for at in range(number)
        ]

    return between(0.1, 0.45), between(0.55, 0.9)


def clearer(fmask: "np.ndarray", number: int) -> list[int]:
    """Return, for each i, the one of the days i and number + i with fewer clouds, shadows and missing pixels.

    fmask: [2 x number, height, width], as in HLS.
    """
    hidden = ((fmask & (CLOUD | SHADOW)) > 0).mean((1, 2))  # all bits of unmeasured pixels are set
    return [i if hidden[i] <= hidden[number + i] else number + i for i in range(number)]


def _cut(image: "np.ndarray", size: int) -> "np.ndarray":
    """Return an image [..., k x size, k x size] cut into chips [k x k, ..., size, size]."""
    import numpy as np

    across = image.shape[-1] // size
    parts = image.reshape(*image.shape[:-2], across, size, across, size)
    return np.moveaxis(parts, (-4, -2), (0, 1)).reshape(across**2, *image.shape[:-2], size, size)
