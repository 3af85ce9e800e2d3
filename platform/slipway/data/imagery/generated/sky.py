"""Everything between a generated scene's ground and the sensor: haze, clouds and their shadows, noise, edges."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from slipway.data.imagery.generated.patterns import fractal, spread, stream
from slipway.data.imagery.generated.season import sun

if TYPE_CHECKING:
    import numpy as np

CLOUD, ADJACENT, SHADOW, SNOW, WATER_BIT = (1 << bit for bit in range(1, 6))
"""Bits of Fmask, as in HLS 2.0."""
FILL = 255
"""The value of Fmask where no pixel was measured."""

_CLOUD = (0.48, 0.47, 0.475, 0.52, 0.42, 0.33)
_HAZE = (0.020, 0.012, 0.006, 0.002, 0.0, 0.0)
_NOISE = (0.0012, 0.006)  # constant, and by reflectance
_CLEAR_DAYS = 0.55
_EDGE_DAYS = 0.12


class Seen(NamedTuple):
    """The sensor's measurement on a day."""

    reflectance: "np.ndarray"
    """float32 [6, size, size]"""
    fmask: "np.ndarray"
    """uint8 [size, size]"""
    measured: "np.ndarray"
    """bool [size, size], false beyond the edge of the swath."""


def look(names: Sequence[object], day: int, ground: "np.ndarray", water: "np.ndarray") -> Seen:
    """Return what the sensor measures of the ground, float32 [6, size, size], on a day of the year.

    The names decide the weather. water: bool [size, size].
    """
    import numpy as np

    random = stream("sky", *names)
    size = ground.shape[-1]
    haze = np.float32(random.gamma(1.5, 0.5))
    opacity = _clouds(random, size)
    sine, cosine = sun(day)
    # clouds at about 1 km, 30 m pixels, the sun in the south-east: shadows fall to the north-west
    length = round(random.uniform(700, 1500) / 30 * cosine / sine / np.sqrt(2))
    shade = np.roll(opacity, (-length, -length), (0, 1))
    thickness = 1 + 0.12 * np.clip(fractal(random, size, 2.2, 64), -3, 3)
    cloud = np.array(_CLOUD, np.float32)[:, None, None] * thickness

    seen = ground * (1 - 0.6 * shade) + haze * np.array(_HAZE, np.float32)[:, None, None]
    seen += (cloud - seen) * opacity
    noise = _NOISE[0] + _NOISE[1] * np.abs(seen)
    seen += noise * random.standard_normal(seen.shape, np.float32)

    cloudy, shaded = opacity > 0.2, shade > 0.25
    fmask = CLOUD * cloudy + SHADOW * (shaded & ~cloudy) + ADJACENT * (spread(cloudy, 3) & ~cloudy)
    aerosol = 1 + min(int(haze / 0.6), 2)  # low, moderate, high, in bits 6 and 7
    fmask = fmask + WATER_BIT * (water & ~cloudy) + (aerosol << 6)
    measured = _swath(random, size)
    return Seen(seen, np.where(measured, fmask, FILL).astype(np.uint8), measured)


def _clouds(random: "np.random.Generator", size: int) -> "np.ndarray":
    """Return the clouds' opacity, float32 [size, size], 0 to 1, with soft edges. Many days have none."""
    import numpy as np

    cover = 0.0 if random.random() < _CLEAR_DAYS else random.beta(0.7, 2.5)
    density = fractal(random, size, 3.2, 128)
    if cover * size * size < 1:
        return np.zeros((size, size), np.float32)
    return np.clip((density - np.quantile(density, 1 - cover)) / 0.5, 0, 0.97).astype(np.float32)


def _swath(random: "np.random.Generator", size: int) -> "np.ndarray":
    """Return the pixels that the sensor saw, bool [size, size].

    These are all pixels, or those up to a straight edge across the scene.
    """
    import numpy as np

    along, offset = random.uniform(-0.3, 0.3), random.uniform(0.2, 0.8) * size
    side, crossing = random.random() < 0.5, random.random() < _EDGE_DAYS
    if not crossing:
        return np.ones((size, size), bool)
    rows, columns = np.mgrid[:size, :size]
    return (columns - offset + along * rows > 0) == side
