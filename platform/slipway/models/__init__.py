"""Model families.

A family is a package with three modules, each imported only where it is needed:

config   the pydantic section `Config` of conf/model/*.yaml, with the literal field `family`
family   the pure half, FAMILY (see slipway.models.family): rules, layers, samples; imports no torch
network  the torch half, NETWORK (see slipway.models.network): stages, losses, initial values

and, where `slipway evaluate` has something to find out, `evaluation` (see slipway.models.evaluation), and, where its
models read and write text, `text` (see slipway.models.text);

and a line that names it: in slipway.registry, or an entry point of the group `slipway.families`.
"""

from typing import TYPE_CHECKING, Any

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.family import Family, Spread, Spreading
from slipway.registry import FAMILIES

if TYPE_CHECKING:
    from slipway.models.evaluation import Evaluation
    from slipway.models.network import Network
    from slipway.models.text import Text


def network_of(config: RunConfig) -> "Network":
    """Return the torch half of the configured model's family. Imports torch."""
    return FAMILIES.part(config.model.family, "network").NETWORK


def family(config: RunConfig) -> Family:
    """Return the pure half of the configured model's family."""
    return FAMILIES.part(config.model.family, "family").FAMILY


def spread_of(config: RunConfig) -> Spread | None:
    """Return what the configured model hands out among parts that should all have some; None: nothing."""
    told = family(config)
    return told.spread(config) if isinstance(told, Spreading) else None


def evaluation_of(config: RunConfig) -> "Evaluation":
    """Return what the configured model's family finds out of models. Raises UserError where that is nothing."""
    name = config.model.family
    if not FAMILIES.has(name, "evaluation"):
        having = [one for one in FAMILIES.names() if FAMILIES.has(one, "evaluation")]
        use = f"a run of one that has: {', '.join(having)}" if having else ""
        raise UserError("model.family", "has no evaluation", value=name, use=use)
    return FAMILIES.part(name, "evaluation").EVALUATION


def text_of(config: RunConfig) -> "Text":
    """Return what the configured model's family does with text. Raises UserError where that is nothing."""
    name = config.model.family
    if not FAMILIES.has(name, "text"):
        having = [one for one in FAMILIES.names() if FAMILIES.has(one, "text")]
        use = f"a run of one that does: {', '.join(having)}" if having else ""
        raise UserError("model.family", "reads and writes no text", value=name, use=use)
    return FAMILIES.part(name, "text").TEXT


def shape(config: RunConfig) -> dict[str, Any]:
    """Return what weights in a checkpoint depend on, as JSON: a run continues only with the same."""
    return {"family": config.model.family, **family(config).shape(config)}
