"""Initial weights: a function of the seed and of a parameter's place in the whole model, not of the layout."""

from collections.abc import Iterable
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.tensor_parallel import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
    set_tensor_model_parallel_attributes,
)

from slipway.config.schema import RunConfig
from slipway.engine.draw import draw, key_of
from slipway.models.network import Network

# by name, since the classes exist only with Transformer Engine: the axis along which a weight is split
GROUPED = {"TEColumnParallelGroupedLinear": 0, "TERowParallelGroupedLinear": 1}


def sharded_tensors(state: dict[str, Any]) -> Iterable[ShardedTensor]:
    """Yield every tensor of a sharded state dict, with factories (the gated MLP's two halves) built."""
    for value in nested_values(state):
        if isinstance(value, ShardedTensorFactory):
            yield from sharded_tensors({"built": value.build()})
        elif isinstance(value, ShardedTensor):
            yield value


def initialize(config: RunConfig, network: Network, model_state: dict[str, Any]) -> None:
    """Fill this rank's parameters in place, on their device.

    The key and the offsets are those under which checkpoints store a tensor, so that tied and replicated parameters
    start equal, and tensor-, pipeline- and expert-parallel shards are cuts of one whole, of which nothing else is
    drawn. Buffers stay as they were built.
    """
    for tensor in sharded_tensors(model_state):
        assert isinstance(tensor.data, torch.Tensor)
        if not tensor.data.requires_grad:
            continue
        axes = tensor.prepend_axis_num  # layer or expert index, prepended to the parameter's own shape
        place = f"{config.training.seed}:{tensor.key}:{tuple(tensor.global_offset[:axes])}"
        whole, offset = tuple(tensor.global_shape[axes:]), tuple(tensor.global_offset[axes:])
        draw(tensor.data, network.initial(config, tensor.key, whole), key_of(place), whole, offset)


def mark_tensor_parallel(stage: torch.nn.Module) -> None:
    """Mark the weights that are split over tensor-parallel ranks, so that the gradient norm counts each part.

    Megatron-core's own initialization, which ours replaces, also does this. Megatron-core 0.16 leaves Transformer
    Engine's experts unmarked.
    """
    for module in stage.modules():
        axis = GROUPED.get(type(module).__name__)
        if axis is not None:
            weights = [w for name, w in module.named_parameters(recurse=False) if name.startswith("weight")]
        elif isinstance(module, ColumnParallelLinear | RowParallelLinear | VocabParallelEmbedding):
            axis = int(isinstance(module, RowParallelLinear))
            weights = [] if module.weight is None else [module.weight]
        else:
            continue
        for weight in weights:
            if not hasattr(weight, "tensor_model_parallel"):
                set_tensor_model_parallel_attributes(weight, True, axis, 1)
