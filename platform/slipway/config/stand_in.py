"""The choice any_KIND that stands for data if none is chosen and nothing is trained, of a kind that the model reads."""

from collections.abc import Sequence
from pathlib import Path

from slipway.config.compose import composed
from slipway.config.explain import TO_PLAN, CompositionErrors
from slipway.registry import FAMILIES

GROUP = "data"
"""The group that then need not be chosen."""


def stand_in(overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Return the override that chooses it; a plan needs no more than the sizes of samples.

    Args:
        overrides: Those of a command line that chooses no data.
        config_dir: As --config-dir: a directory of groups that is searched before conf/.
    """
    words = [*overrides, f"{GROUP}={TO_PLAN}text"]  # any choice will do: only the model is looked at
    try:
        family = composed(words, Path(config_dir) if config_dir else None).model.family
        kinds = FAMILIES.part(family, "family").FAMILY.data_kinds
    except CompositionErrors():
        kinds = ("text",)  # mistakes, and sweeps over models, are reported when all is composed
    return f"{GROUP}={TO_PLAN}{kinds[0]}"
