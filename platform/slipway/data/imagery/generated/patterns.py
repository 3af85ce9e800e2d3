"""Random patterns that landscapes and clouds are made of: fractal surfaces, parcels, contours."""

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stream(*names: object) -> "np.random.Generator":
    """Return a stream of random numbers that follows from the names alone."""
    import numpy as np

    digest = blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def fractal(random: "np.random.Generator", size: int, exponent: float, longest: float) -> "np.ndarray":
    """Return a random surface, float32 [size, size], of mean 0 and standard deviation 1, that wraps at its edges.

    Its power falls as wavelength ** exponent below `longest` pixels and is level above: white noise, filtered in the
    frequency domain (spectral synthesis; Saupe 1988, "Algorithms for random fractals").
    """
    import numpy as np

    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    level = 1.0 / min(longest, size)
    amplitude = (rows**2 + columns**2 + level**2) ** (-exponent / 4)
    amplitude[0, 0] = 0.0
    noise = random.standard_normal((size, size))
    surface = np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=(size, size))
    return (surface / surface.std()).astype(np.float32)


def parcels(random: "np.random.Generator", size: int, side: float, bend: float) -> "np.ndarray":
    """Return the number of each pixel's parcel, int32 [size, size], from 0 and without gaps.

    Rectangles of about `side` pixels, as land is divided, turned by a random angle and bent by up to about `bend`
    pixels.
    """
    import numpy as np

    canvas = _rectangles(random, int(size * 1.5) + int(6 * bend) + 2, side)
    angle = random.uniform(0, np.pi)
    y, x = np.mgrid[:size, :size].astype(np.float32) - (size - 1) / 2
    y += bend * fractal(random, size, 4.0, 96)
    x += bend * fractal(random, size, 4.0, 96)
    middle = (len(canvas) - 1) / 2
    rows = np.cos(angle) * y - np.sin(angle) * x + middle
    columns = np.sin(angle) * y + np.cos(angle) * x + middle
    rows, columns = (np.clip(np.rint(one), 0, len(canvas) - 1).astype(np.intp) for one in (rows, columns))
    _, numbers = np.unique(canvas[rows, columns], return_inverse=True)
    return numbers.reshape(size, size).astype(np.int32)


def _rectangles(random: "np.random.Generator", size: int, side: float) -> "np.ndarray":
    """Split a square again and again across its longer side, at a random place, until parts are small enough."""
    import numpy as np

    numbers = np.zeros((size, size), np.int32)
    waiting, count = [(0, 0, size, size)], 0
    while waiting:
        top, left, bottom, right = waiting.pop()
        height, width = bottom - top, right - left
        if max(height, width) < 4 or height * width < side**2 * random.uniform(0.5, 2.0):
            numbers[top:bottom, left:right] = count
            count += 1
        elif height >= width:
            cut = top + round(height * random.uniform(0.3, 0.7))
            waiting += [(top, left, cut, right), (cut, left, bottom, right)]
        else:
            cut = left + round(width * random.uniform(0.3, 0.7))
            waiting += [(top, left, bottom, cut), (top, cut, bottom, right)]
    return numbers


def contour(surface: "np.ndarray", width: float) -> "np.ndarray":
    """Return the pixels where a surface crosses 0, bool [rows, columns], as a line of about `width` pixels.

    Rivers and roads wind like this.
    """
    import numpy as np

    down, right = np.gradient(surface)
    return np.abs(surface) < np.hypot(down, right) * width / 2


def highest(surface: "np.ndarray", share: float) -> "np.ndarray":
    """Return the given share of a surface's pixels that are highest, bool in the shape of the surface."""
    import numpy as np

    return surface > np.quantile(surface, 1 - share)


def spread(mask: "np.ndarray", pixels: int) -> "np.ndarray":
    """Return a mask [rows, columns] grown by so many pixels in all eight directions."""
    grown = mask.copy()
    for _ in range(pixels):
        wide = grown.copy()
        wide[1:] |= grown[:-1]
        wide[:-1] |= grown[1:]
        grown = wide.copy()
        grown[:, 1:] |= wide[:, :-1]
        grown[:, :-1] |= wide[:, 1:]
    return grown
