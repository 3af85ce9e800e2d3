"""Shares of the samples for training, validation and test (`data.split`), whatever is split."""

from collections.abc import Sequence

from slipway.data.kind import Split
from slipway.errors import UserError

SPLITS: tuple[Split, Split, Split] = ("training", "validation", "test")


def check_shares(split: Sequence[float], validation_steps: int) -> None:
    """Raise UserError if a split that is read has a share of 0."""
    if not split[0]:
        raise UserError(
            "data.split",
            "gives training a share of 0",
            value=list(split),
            do="use a share above 0 for training",
        )
    if validation_steps and not split[1]:
        raise UserError(
            "data.split",
            f"gives validation a share of 0, but validation.steps is {validation_steps}",
            value=list(split),
            do="set validation.steps=0, or give it a share",
        )
