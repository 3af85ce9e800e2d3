"""A band's grid resampled to a chip's, along rows and columns separately, with weights.

Finer bands are averaged over the area of each pixel of the chip's grid, coarser ones are interpolated between their
pixels' centres (bilinear, which at the edges repeats the outermost pixels). A pixel is unknown if any pixel with a
weight in it is unknown: no value is ever mixed with nodata. A mask's value is that of the pixel that holds the centre.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Taps(NamedTuple):
    """Weights along one axis: value[i] = sum over k of weights[k, i] x source[index[k, i]]."""

    index: "np.ndarray"
    """int [taps, n]"""
    weights: "np.ndarray"
    """float32 [taps, n], each column of sum 1."""

    @property
    def first(self) -> int:
        """The first pixel that is needed."""
        return int(self.index.min())

    @property
    def end(self) -> int:
        """The pixel after the last that is needed."""
        return int(self.index.max()) + 1


def taps(first: int, end: int, resolution: float, source: float, size: int) -> Taps:
    """Return the taps of pixels first to end of a grid of `resolution`, out of `size` pixels of resolution `source`.

    Both grids begin at the same edge.
    """
    import numpy as np

    ratio = resolution / source
    edges = np.arange(first, end + 1) * ratio
    if ratio >= 1 - 1e-9:
        low = np.floor(edges[:-1] + 1e-6).astype(np.intp)
        count = int(np.ceil(ratio - 1e-6)) + (abs(ratio - round(ratio)) > 1e-6)
        index = low + np.arange(count)[:, None]
        weights = np.minimum(index + 1, edges[1:]) - np.maximum(index, edges[:-1])
        weights = np.where(weights > 1e-6, weights, 0.0)
    else:
        centre = (edges[:-1] + edges[1:]) / 2 - 0.5
        low = np.floor(centre).astype(np.intp)
        index = np.stack([low, low + 1])
        weights = np.stack([low + 1 - centre, centre - low])
    return Taps(np.clip(index, 0, size - 1), (weights / weights.sum(0)).astype(np.float32))


def nearest(first: int, end: int, resolution: float, source: float, size: int) -> "np.ndarray":
    """Return the pixel of the source that holds the centre of each pixel first to end, int [n]."""
    import numpy as np

    centre = (np.arange(first, end) + 0.5) * (resolution / source)
    return np.clip(np.floor(centre).astype(np.intp), 0, size - 1)


def is_identity(one: Taps) -> bool:
    """Return whether these taps leave values as they are, without resampling."""
    return len(one.index) == 1


def resample(
    values: "np.ndarray", known: "np.ndarray", rows: Taps, columns: Taps
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return values, float32 [rows, columns], and which of them are known, bool, at the taps.

    The indices of rows and columns are those of `values`.
    """
    import numpy as np

    values = np.where(known, values, np.float32(0)).astype(np.float32)
    for axis, one in ((0, rows), (1, columns)):
        shape = (-1, 1) if axis == 0 else (1, -1)
        total, all_known = None, None
        for index, weight in zip(one.index, one.weights, strict=True):
            part = np.take(values, index, axis) * weight.reshape(shape)
            held = np.take(known, index, axis) | (weight == 0).reshape(shape)
            total = part if total is None else total + part
            all_known = held if all_known is None else all_known & held
        assert total is not None and all_known is not None
        values, known = total, all_known
    return values, known
