"""The patches of a sample that are hidden, and the metadata that training drops: functions of the sample's seed alone.

They are drawn with integers only (Philox, slipway.kernels.philox), so that the first and the last stage of a pipeline,
other layouts, other devices and resumed runs get the same. Validation draws its samples by the same seeds each time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slipway.kernels.philox import LOW, WORDS, philox
from slipway.models.mae.config import Metadata

KEY = (0x6D61736B, 0)  # the generator's key; draws differ in its counter
PURPOSES: dict[Metadata | None, int] = {None: 0, "time": 1, "location": 2}  # None: patches
INDEX_BITS = 31


class Mask(NamedTuple):
    """The patches of each sample of a microbatch, by their numbers in ascending order; int64."""

    visible: Tensor
    """[b, visible]"""
    hidden: Tensor
    """[b, hidden]: all others."""


def draw(seeds: Tensor, patches: int, visible: int) -> Mask:
    """Return a mask that hides all but `visible` of so many patches, each choice equally likely; seeds: [b] int64.

    seeds: of the field SEED_FIELD. Each patch draws a word; those with the smallest words stay visible, of equal ones
    the first.
    """
    words = _words(seeds, None, patches)
    order = (words << INDEX_BITS | torch.arange(patches, device=seeds.device)).argsort(1)
    return Mask(order[:, :visible].sort(1).values, order[:, visible:].sort(1).values)


def keeps(seeds: Tensor, name: Metadata, dropped: float) -> Tensor:
    """Return whether each sample keeps this metadata, [b] bool, if a share of all samples drops it. seeds: [b]."""
    return _words(seeds, name, 1)[:, 0] >= round(dropped * (LOW + 1))


def _words(seeds: Tensor, purpose: Metadata | None, number: int) -> Tensor:
    """Return so many words below 2^32 for each seed, [b, number] int64."""
    blocks = torch.arange(-(-number // WORDS), device=seeds.device)
    what = torch.full_like(blocks, PURPOSES[purpose])
    words = philox((blocks, what, seeds[:, None] & LOW, seeds[:, None] >> 32), KEY)  # [WORDS, b, blocks]
    return words.movedim(0, -1).flatten(1)[:, :number]
