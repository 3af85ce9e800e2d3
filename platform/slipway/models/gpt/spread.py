"""The tokens that a mixture of experts distributes among the experts of each mixture layer. Pure Python."""

from slipway.config.schema import RunConfig
from slipway.models.family import Spread
from slipway.models.gpt.config import gpt_of

LAYER, PREDICTION = "layer {}", "prediction {}"
"""The names of a layer, numbered from 0 as in the keys of checkpoints, and of a layer that predicts further ahead."""


def spread(config: RunConfig) -> Spread | None:
    """Return the experts of each mixture layer; None: all layers are dense."""
    model = gpt_of(config)
    blocks = model.blocks
    places = [LAYER.format(number) for number, block in enumerate(blocks) if block.num_experts]
    if blocks[-1].num_experts:  # the layers of prediction are built like the last one
        places += [PREDICTION.format(number) for number in range(model.prediction_depths)]
    if not places:
        return None
    assert model.num_moe_experts
    return Spread("experts", tuple(places), model.num_moe_experts, model.moe_router_topk)
