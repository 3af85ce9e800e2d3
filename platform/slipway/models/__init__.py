"""Model families.

A family is a package with three modules, each imported only when it is needed:

config   the pydantic section `Config` of conf/model/*.yaml, with the literal field `family`
family   the pure half, FAMILY (see slipway.models.family): rules, layers, samples; imports no torch
network  the torch half, NETWORK (see slipway.models.network): stages, losses, initial values

It may also have the module `evaluation` (see slipway.models.evaluation), if `slipway evaluate` can measure something,
and the module `text` (see slipway.models.text), if its models read and write text.

A line names it: in slipway.registry, or an entry point of the group `slipway.families`.
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
    """Return what the configured model distributes among parts that should all be used; None: nothing."""
    told = family(config)
    return told.spread(config) if isinstance(told, Spreading) else None


def evaluation_of(config: RunConfig) -> "Evaluation":
    """Return the evaluation of the configured model's family. Raises UserError if the family has none."""
    name = config.model.family
    if not FAMILIES.has(name, "evaluation"):
        having = [one for one in FAMILIES.names() if FAMILIES.has(one, "evaluation")]
        use = f"a run of one that has: {', '.join(having)}" if having else ""
        raise UserError("model.family", "has no evaluation", value=name, use=use)
    return FAMILIES.part(name, "evaluation").EVALUATION


def text_of(config: RunConfig) -> "Text":
    """Return how the configured model's family reads and writes text. Raises UserError if it does not."""
    name = config.model.family
    if not FAMILIES.has(name, "text"):
        having = [one for one in FAMILIES.names() if FAMILIES.has(one, "text")]
        use = f"a run of one that does: {', '.join(having)}" if having else ""
        raise UserError("model.family", "does not read or write text", value=name, use=use)
    return FAMILIES.part(name, "text").TEXT


def shape(config: RunConfig) -> dict[str, Any]:
    """Return what a checkpoint's weights depend on, as JSON: a run resumes only if it is the same."""
    return {"family": config.model.family, **family(config).shape(config)}
