"""The reflectance of a generated scene's ground on a day of the year."""

from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.generated.land import (
    BUILT,
    CLASSES,
    CONIFER,
    CROPLAND,
    DECIDUOUS,
    GRASSLAND,
    WATER,
    Land,
)
from slipway.data.imagery.generated.patterns import stream

if TYPE_CHECKING:
    import numpy as np

# Typical reflectances of blue, green, red, near infrared (narrow), short-wave infrared 1 and 2.
_SOIL = (0.085, 0.115, 0.150, 0.235, 0.310, 0.265)
_STRAW = (0.075, 0.115, 0.155, 0.290, 0.330, 0.230)
_GREEN = {
    CROPLAND: (0.030, 0.065, 0.040, 0.430, 0.190, 0.090),
    GRASSLAND: (0.040, 0.075, 0.055, 0.330, 0.220, 0.120),
    DECIDUOUS: (0.022, 0.045, 0.026, 0.380, 0.165, 0.070),
    CONIFER: (0.018, 0.032, 0.022, 0.220, 0.090, 0.040),
    BUILT: (0.110, 0.130, 0.145, 0.200, 0.215, 0.190),
    WATER: (0.045, 0.040, 0.025, 0.012, 0.006, 0.004),
}
_BARE = {  # what is seen where nothing is green
    DECIDUOUS: (0.035, 0.050, 0.060, 0.160, 0.190, 0.110),
    GRASSLAND: (0.055, 0.080, 0.090, 0.220, 0.270, 0.170),
}


class _Crop(NamedTuple):
    peak: float
    """Day of the year when it is greenest (northern hemisphere)."""
    width: float
    """Standard deviation of its greenness over time, in days."""
    frequency: float


_CROPS = (
    _Crop(150, 42, 0.40),  # winter cereals
    _Crop(125, 35, 0.15),  # rape
    _Crop(215, 34, 0.30),  # maize
    _Crop(195, 45, 0.15),  # beet, potatoes
)
_OTHERS = {GRASSLAND: (170.0, 70.0), DECIDUOUS: (195.0, 65.0)}


def greenness(day: int, peak: "np.ndarray | float", width: "np.ndarray | float") -> "np.ndarray":
    """Return the share of full green on a day of the year: a Gaussian about the peak, over the turn of the year.

    The result has the shape to which `peak` and `width` are broadcast.
    """
    import numpy as np

    distance = (day - np.asarray(peak) + 182.5) % 365 - 182.5
    return np.exp(-0.5 * (distance / width) ** 2)


def ground(seed: int, land: Land, day: int) -> "np.ndarray":
    """Return the ground's reflectance on a day of the year, float32 [6, size, size]."""
    import numpy as np

    table = np.concatenate([_fields(seed, land.parcels, day), _grassland(seed, land.parcels, day)])
    rest = [
        _mixed(
            _BARE.get(label, _GREEN[label]), _GREEN[label], greenness(day, *_OTHERS.get(label, (0, np.inf)))
        )
        for label in range(DECIDUOUS, len(CLASSES))
    ]
    table = np.concatenate([table, np.stack(rest)]).astype(np.float32)
    first_of_rest = 2 * land.parcels - DECIDUOUS
    row = np.where(
        land.labels < DECIDUOUS,
        land.parcel + land.parcels * land.labels.astype(np.int32),
        land.labels.astype(np.int32) + first_of_rest,
    )
    return table.T[:, row] * (land.texture * _sunlight(land, day))


def _mixed(bare: "np.typing.ArrayLike", green: "np.typing.ArrayLike", share: "np.ndarray") -> "np.ndarray":
    import numpy as np

    bare, green = np.asarray(bare), np.asarray(green)
    return bare + (green - bare) * np.asarray(share)[..., None]


def _fields(seed: int, count: int, day: int) -> "np.ndarray":
    """Return the reflectance of crops by parcel, [count, 6]: soil, green, straw, stubble.

    Each field has its own calendar and its own soil.
    """
    import numpy as np

    random = stream("fields", seed)
    kind = random.choice(len(_CROPS), count, p=[crop.frequency for crop in _CROPS])
    peak = np.array([crop.peak for crop in _CROPS])[kind] + random.normal(0, 9, count)
    width = np.array([crop.width for crop in _CROPS])[kind]
    vigour = random.uniform(0.75, 1.0, count)
    soil = np.array(_SOIL) * random.uniform(0.6, 1.15, (count, 1))
    ripe = (day > peak) & (day < peak + 2.2 * width)
    bare = np.where(ripe[:, None], np.array(_STRAW) * random.uniform(0.85, 1.1, (count, 1)), soil)
    return _mixed(bare, _GREEN[CROPLAND], vigour * greenness(day, peak, width))


def _grassland(seed: int, count: int, day: int) -> "np.ndarray":
    """Return the reflectance of grassland by parcel, [count, 6]: always somewhat green, mown at different times."""
    import numpy as np

    random = stream("grassland", seed)
    peak, width = _OTHERS[GRASSLAND]
    mown = random.uniform(140, 240, count)
    regrown = 1 - 0.5 * np.exp(-np.maximum(day - mown, 0) / 20) * (day >= mown)
    green = random.uniform(0.8, 1.0, count) * regrown * np.maximum(greenness(day, peak, width), 0.35)
    return _mixed(_BARE[GRASSLAND], _GREEN[GRASSLAND], green)


def sun(day: int) -> tuple[float, float]:
    """Return the sine and the cosine of the sun's height at mid-morning, 50 degrees north, on a day of the year."""
    import numpy as np

    height = np.radians(40 + 22 * np.cos(2 * np.pi * (day - 172) / 365))
    return float(np.sin(height)), float(np.cos(height))


def _sunlight(land: Land, day: int) -> "np.ndarray":
    """Return how much brighter or darker slopes are than level ground, a factor [size, size].

    The sun is in the south-east; water is level.
    """
    import numpy as np

    sine, cosine = sun(day)
    south, east = land.slopes
    light = 1 - 0.06 * cosine / sine * np.clip(south + east, -4, 4)
    return np.where(land.labels == WATER, 1.0, light).astype(np.float32)
