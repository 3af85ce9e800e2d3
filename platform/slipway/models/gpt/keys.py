"""What the tensors of a transformer layer are called in a checkpoint. Imports no torch."""

from slipway.models.gpt.config import Config

LAYERS = "decoder.layers"


def layer_key(model: Config, layer: int) -> tuple[str, tuple[int, ...]]:
    """Return the beginning of the names of a layer's tensors, and the layer's place on the axis before the tensor's own.

    Layers of one kind share names, and stand one after the other on an axis in front; where some layers have experts
    and others do not, Megatron-core numbers them (TransformerBlock.sharded_state_dict).
    """
    if len({block.num_experts for block in model.blocks}) > 1:
        return f"{LAYERS}.{layer}", ()
    return LAYERS, (layer,)
