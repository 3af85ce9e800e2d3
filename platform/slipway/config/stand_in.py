"""What stands for data where none is chosen and nothing is trained: the choice any_KIND of a kind the model reads."""

from collections.abc import Sequence
from pathlib import Path

from slipway.config.compose import composed
from slipway.config.explain import TO_PLAN, CompositionErrors
from slipway.registry import FAMILIES

GROUP = "data"
"""The group that need not be chosen then."""


def stand_in(overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Return the override that chooses it; a plan needs no more than the sizes of samples.

    Args:
        overrides: Of a command line that lacks it.
        config_dir: As --config-dir: a folder of groups that is searched before conf/.
    """
    words = [*overrides, f"{GROUP}={TO_PLAN}text"]  # any that is there: only the model is looked at
    try:
        family = composed(words, Path(config_dir) if config_dir else None).model.family
        kinds = FAMILIES.part(family, "family").FAMILY.data_kinds
    except CompositionErrors():
        kinds = ("text",)  # what is wrong, or a sweep over several models, is told when all is composed
    return f"{GROUP}={TO_PLAN}{kinds[0]}"
