"""Pixels as patches, what the decoder is to predict of them, and how far off it is.

Patches are numbered by time, row and column. What the encoder embeds of a patch is ordered as the weight of a 3D
convolution (band, time, row, column), what the decoder predicts as in MAE (time, row, column, band).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slipway.data.imagery.chip import NODATA
from slipway.models.mae.config import Config

EPSILON = 1e-6  # of the variance of a patch, as in He et al.'s code


class Targets(NamedTuple):
    """Of the hidden patches; [b, hidden, values]."""

    values: Tensor
    """fp32, 0 where not known."""
    known: Tensor
    """bool: what was measured."""


def patches(pixels: Tensor, model: Config) -> Tensor:
    """Return [b, frames, bands, height, width] -> [b, patches, bands, values of a band], of the same type."""
    frames, rows, columns = model.grid
    depth, side = model.patch_frames, model.patch_size
    parts = pixels.view(len(pixels), frames, depth, model.num_bands, rows, side, columns, side)
    return parts.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(
        len(pixels), model.num_patches, model.num_bands, depth * side**2
    )


def chosen(of_samples: Tensor, numbers: Tensor) -> Tensor:
    """Return patches of each sample by their numbers: [b, patches, ...], [b, n] -> [b, n, ...]."""
    return of_samples[torch.arange(len(numbers), device=numbers.device)[:, None], numbers]


def known(values: Tensor) -> Tensor:
    """Return whether each was measured; of any shape. Products in floating point have NaN where nothing was."""
    return ~values.isnan() if values.is_floating_point() else values != NODATA


def normalized(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return values [b, n, bands, values of a band] less the bands' mean [b, bands], by their std; fp32, 0 where not known."""
    numbers = (values.float() - mean[:, None, :, None]) / std[:, None, :, None]
    return torch.where(known(values), numbers, 0.0)


def targets(values: Tensor, mean: Tensor, std: Tensor, normalize_patches: bool) -> Targets:
    """Return what is to be predicted of hidden patches; arguments: see normalized.

    normalize_patches: each patch less its mean, by its standard deviation (unbiased), over what is known of it.
    """
    wanted, there = (x.transpose(2, 3).flatten(2) for x in (normalized(values, mean, std), known(values)))
    if normalize_patches:
        number = there.sum(-1, keepdim=True)
        off = torch.where(there, wanted - wanted.sum(-1, keepdim=True) / number.clamp(min=1), 0.0)
        variance = off.square().sum(-1, keepdim=True) / (number - 1).clamp(min=1)
        wanted = off / (variance + EPSILON).sqrt()
    return Targets(wanted, there)


def loss(predicted: Tensor, wanted: Targets) -> tuple[Tensor, Tensor]:
    """Return the sum over hidden patches of each one's mean squared error, and the number of these patches.

    predicted: [b, hidden, values] fp32. Numbers that are not known do not count, nor patches without any that is.
    """
    errors = torch.where(wanted.known, predicted - wanted.values, 0.0).square().sum(-1)
    number = wanted.known.sum(-1)
    return (errors / number.clamp(min=1)).sum(), (number > 0).sum()
