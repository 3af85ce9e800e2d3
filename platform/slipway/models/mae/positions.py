"""Encodings of places and times: fixed sines and cosines, in fp32 whatever the precision of training.

Vaswani et al. 2017, arXiv 1706.03762, section 3.5, with all sines before all cosines; the shares of width, height and
time, and the encodings of dates and places, as in Prithvi-EO-2.0 (arXiv 2412.02732).
"""

import torch
from torch import Tensor

BASE = 10000.0


def sin_cos(positions: Tensor, width: int) -> Tensor:
    """Return encodings [..., width] of floating-point positions [...], of the same type. width: even."""
    half = width // 2
    steps = torch.arange(half, dtype=positions.dtype, device=positions.device) / half
    angles = positions[..., None] * (1.0 / BASE**steps)
    return torch.cat([angles.sin(), angles.cos()], -1)


def of_patches(grid: tuple[int, int, int], width: int) -> Tensor:
    """Return the encodings of all patches, [patches, width] fp32.

    6/16 encode the column, 6/16 the row, 4/16 the time. grid: patches in time, height and width. width: a multiple of
    16. Computed in fp64.
    """
    numbers = [torch.arange(size, dtype=torch.float64) for size in grid]
    times, rows, columns = torch.meshgrid(*numbers, indexing="ij")
    shares = ((columns, 6), (rows, 6), (times, 4))
    return torch.cat([sin_cos(axis.flatten(), width // 16 * share) for axis, share in shares], -1).float()


def of_pairs(pairs: Tensor, width: int) -> Tensor:
    """Return encodings [..., width] of pairs [..., 2], half the width for each number.

    Pairs are year and day of year, or latitude and longitude.
    """
    return torch.cat([sin_cos(one, width // 2) for one in pairs.float().unbind(-1)], -1)
