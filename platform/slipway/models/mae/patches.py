"""Pixels as patches, the targets of the decoder, and its loss.

Patches are numbered by time, row and column. The encoder embeds a patch's values in the order of a 3D convolution's
weight (band, time, row, column); the decoder predicts them in the order of MAE (time, row, column, band).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slipway.data.imagery.chip import NODATA
from slipway.models.mae.config import Config

EPSILON = 1e-6  # added to the variance of a patch, as in He et al.'s code


class Targets(NamedTuple):
    """The targets of the hidden patches, [b, hidden, values]."""

    values: Tensor
    """fp32, 0 where unknown."""
    known: Tensor
    """bool: whether a value was measured."""


def patches(pixels: Tensor, model: Config) -> Tensor:
    """Return pixels [b, frames, bands, height, width] as patches [b, patches, bands, values of a band], same type."""
    frames, rows, columns = model.grid
    depth, side = model.patch_frames, model.patch_size
    parts = pixels.view(len(pixels), frames, depth, model.num_bands, rows, side, columns, side)
    return parts.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(
        len(pixels), model.num_patches, model.num_bands, depth * side**2
    )


def chosen(of_samples: Tensor, numbers: Tensor) -> Tensor:
    """Return patches of each sample, [b, n, ...], by their numbers [b, n]; of_samples: [b, patches, ...]."""
    return of_samples[torch.arange(len(numbers), device=numbers.device)[:, None], numbers]


def known(values: Tensor) -> Tensor:
    """Return whether each value was measured, in their shape; floating-point products have NaN for missing values."""
    return ~values.isnan() if values.is_floating_point() else values != NODATA


def normalized(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return values [b, n, bands, values of a band] normalized by band; fp32, 0 where unknown.

    The bands' mean, [b, bands], is subtracted and the result divided by their std.
    """
    numbers = (values.float() - mean[:, None, :, None]) / std[:, None, :, None]
    return torch.where(known(values), numbers, 0.0)


def targets(values: Tensor, mean: Tensor, std: Tensor, normalize_patches: bool) -> Targets:
    """Return the targets of hidden patches, [b, hidden, values]; arguments: see normalized.

    normalize_patches: whether to subtract each patch's mean and divide by its standard deviation (unbiased), over its
    known values.
    """
    wanted, there = (x.transpose(2, 3).flatten(2) for x in (normalized(values, mean, std), known(values)))
    if normalize_patches:
        number = there.sum(-1, keepdim=True)
        off = torch.where(there, wanted - wanted.sum(-1, keepdim=True) / number.clamp(min=1), 0.0)
        variance = off.square().sum(-1, keepdim=True) / (number - 1).clamp(min=1)
        wanted = off / (variance + EPSILON).sqrt()
    return Targets(wanted, there)


def loss(predicted: Tensor, wanted: Targets) -> tuple[Tensor, Tensor]:
    """Return the sum over hidden patches of each one's mean squared error, and the number of these patches, scalars.

    predicted: [b, hidden, values] fp32. Unknown values do not count, nor do patches without any known value.
    """
    errors = torch.where(wanted.known, predicted - wanted.values, 0.0).square().sum(-1)
    number = wanted.known.sum(-1)
    return (errors / number.clamp(min=1)).sum(), (number > 0).sum()
