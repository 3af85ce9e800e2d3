"""Damages a training on purpose: a sample that is not finite, or never comes; a GPU that stays busy."""

import threading
from typing import Any

STALL_CYCLES = 5 * 10**10  # of a GPU's clock: half a minute


def spoil(what: str, number: int) -> None:
    """Damage sample `number` of the source, from now on, in ranks that are forked from this process.

    what: nan (its weight in the loss is NaN), hang (no rank gets it), stall (the GPU gets no further).
    """
    from slipway.data.text import dataset

    clean = dataset.Dataset.__getitem__

    def spoiled(self: Any, draw: Any) -> dict[str, Any]:
        sample = clean(self, draw)
        if draw.number == number:
            if what == "hang":
                threading.Event().wait()
            elif what == "stall":
                _stall()
            else:
                sample["loss_mask"] = sample["loss_mask"] * float("nan")
        return sample

    dataset.Dataset.__getitem__ = spoiled  # type: ignore[method-assign]


def _stall() -> None:
    """Keep the GPU busy for longer than a step may take."""
    import torch

    torch.cuda._sleep(STALL_CYCLES)
