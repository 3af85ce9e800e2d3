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
PATCHES, PURPOSES = 0, {"time": 1, "location": 2}  # what a word is for: part of the counter
INDEX_BITS = 31


class Mask(NamedTuple):
    """What is drawn for each sample of a microbatch; patches by their numbers in ascending order; int64."""

    visible: Tensor
    """[b, visible]"""
    hidden: Tensor
    """[b, hidden]: all others."""
    words: Tensor
    """[b, PURPOSES]: the word that decides, for each kind of metadata, whether training drops it (see keeps)."""


def draw(seeds: Tensor, patches: int, visible: int) -> Mask:
    """Return a mask that hides all but `visible` of so many patches, each choice equally likely; seeds: [b] int64.

    seeds: of the field SEED_FIELD. Each patch draws a word; those with the smallest words stay visible, of equal ones
    the first.
    """
    words, of_metadata = _words(seeds, patches)
    order = (words << INDEX_BITS | torch.arange(patches, device=seeds.device)).argsort(1)
    return Mask(order[:, :visible].sort(1).values, order[:, visible:].sort(1).values, of_metadata)


def keeps(mask: Mask, name: Metadata, dropped: float) -> Tensor:
    """Return whether each sample keeps this metadata, [b] bool, if a share of all samples drops it."""
    return mask.words[:, PURPOSES[name] - 1] >= round(dropped * (LOW + 1))


def _words(seeds: Tensor, patches: int) -> tuple[Tensor, Tensor]:
    """Return words below 2^32 for each seed, int64: one for each patch [b, patches], and the first of each purpose.

    All come from one call, since its hundred kernels are what drawing costs on a GPU.
    """
    blocks = torch.arange(-(-patches // WORDS), device=seeds.device)
    number = torch.cat([blocks, blocks.new_zeros(len(PURPOSES))])
    what = torch.cat([torch.full_like(blocks, PATCHES), torch.arange(len(PURPOSES), device=seeds.device) + 1])
    words = philox(
        (number, what, seeds[:, None] & LOW, seeds[:, None] >> 32), KEY
    )  # [WORDS, b, blocks and purposes]
    return words[..., : len(blocks)].movedim(0, -1).flatten(1)[:, :patches], words[0, :, len(blocks) :]
