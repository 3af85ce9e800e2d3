"""Model families.

A family is a package with three modules, each imported only where it is needed:

config   the pydantic section `Config` of conf/model/*.yaml, with the literal field `family`
family   the pure half, FAMILY (see slipway.models.family): rules, layers, samples; imports no torch
network  the torch half, NETWORK (see slipway.models.network): stages, losses, initial values

and a line that names it: in slipway.registry, or an entry point of the group `slipway.families`.
"""

from typing import Any

from slipway.config.schema import RunConfig
from slipway.models.family import Family
from slipway.registry import FAMILIES


def network(config: RunConfig) -> Any:
    """The torch half of the configured model's family."""
    return FAMILIES.part(config.model.family, "network")


def family(config: RunConfig) -> Family:
    """The pure half of the configured model's family."""
    return FAMILIES.part(config.model.family, "family").FAMILY
