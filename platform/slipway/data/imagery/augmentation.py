"""What training does to a chip at random. Imports torch; numbers come from the sample's own generator alone."""

import numpy as np
from torch import Tensor


def cropped(pixels: Tensor, size: int, numbers: np.random.Generator | None) -> Tensor:
    """Return a square of `size` rows and columns; None: the one in the middle. A view.

    pixels: [dates, bands, rows, columns].
    """
    room = pixels.shape[-1] - size
    top, left = (room // 2, room // 2) if numbers is None else numbers.integers(room + 1, size=2).tolist()
    return pixels[..., top : top + size, left : left + size]


def turned(pixels: Tensor, numbers: np.random.Generator) -> Tensor:
    """Return one of the eight ways in which a square lies on itself: turned by quarters, and mirrored or not."""
    way = int(numbers.integers(8))
    if way & 4:
        pixels = pixels.transpose(-1, -2)
    axes = [axis for axis, bit in ((-2, 1), (-1, 2)) if way & bit]
    return pixels.flip(axes) if axes else pixels
