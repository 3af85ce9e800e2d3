"""The names of a transformer layer's tensors in a checkpoint. Imports no torch."""

from slipway.models.gpt.config import Config

LAYERS = "decoder.layers"


def layer_key(model: Config, layer: int) -> tuple[str, tuple[int, ...]]:
    """Return the prefix of the names of a layer's tensors, and the layer's index on the axes before the tensor's own.

    Layers of one kind share names, and are stacked on an axis in front; if only some layers have experts, Megatron-core
    numbers the layers instead (TransformerBlock.sharded_state_dict).
    """
    if len({block.num_experts for block in model.blocks}) > 1:
        return f"{LAYERS}.{layer}", ()
    return LAYERS, (layer,)
