"""Random changes of a chip in training. Imports torch; the numbers come from the sample's own generator alone."""

import numpy as np
from torch import Tensor


def cropped(pixels: Tensor, size: int, numbers: np.random.Generator | None) -> Tensor:
    """Return a view of a square of `size` rows and columns at a random place, or in the middle if `numbers` is None.

    pixels: [dates, bands, rows, columns].
    """
    room = pixels.shape[-1] - size
    top, left = (room // 2, room // 2) if numbers is None else numbers.integers(room + 1, size=2).tolist()
    return pixels[..., top : top + size, left : left + size]


def turned(pixels: Tensor, numbers: np.random.Generator) -> Tensor:
    """Return the square pixels [..., size, size] in one of eight ways: turned by quarters, and mirrored or not."""
    way = int(numbers.integers(8))
    if way & 4:
        pixels = pixels.transpose(-1, -2)
    axes = [axis for axis, bit in ((-2, 1), (-1, 2)) if way & bit]
    return pixels.flip(axes) if axes else pixels
