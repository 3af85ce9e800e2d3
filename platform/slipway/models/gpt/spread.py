"""What a mixture of experts hands out: tokens to the experts of each mixture layer. Pure Python."""

from slipway.config.schema import RunConfig
from slipway.models.family import Spread
from slipway.models.gpt.config import gpt_of

LAYER = "layer {}"
"""A mixture layer by its number from 0, as in the keys of checkpoints."""


def spread(config: RunConfig) -> Spread | None:
    """The experts; None: all layers are dense."""
    model = gpt_of(config)
    if not model.num_moe_experts:
        return None
    places = tuple(LAYER.format(number) for number in range(model.num_layers))
    return Spread("experts", places, model.num_moe_experts, model.moe_router_topk)


def has_bias(config: RunConfig) -> bool:
    """Whether the load is balanced by a bias of each expert, which is no parameter."""
    return bool(getattr(gpt_of(config), "moe_router_enable_expert_bias", False))
