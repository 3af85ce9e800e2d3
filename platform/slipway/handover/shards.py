"""The distribution of a model's tensors over files, and the index of their places. Imports no torch.

Names and index are those of huggingface_hub: model.safetensors, or model-00001-of-00003.safetensors and so on with
model.safetensors.index.json.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from slipway.models.formats import Shape

ALONE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def shared_out(
    shapes: Mapping[str, Shape], nbytes: Mapping[str, int], largest: int
) -> dict[str, dict[str, Shape]]:
    """Return the tensors' shapes by file, in order. nbytes: the size of each tensor.

    largest: bytes of the numbers in a file, which only a tensor that is larger alone exceeds.
    """
    groups: list[dict[str, Shape]] = []
    filled = 0
    for name, shape in shapes.items():
        if not groups or filled + nbytes[name] > largest:
            groups.append({})
            filled = 0
        groups[-1][name] = shape
        filled += nbytes[name]
    if len(groups) == 1:
        return {ALONE: groups[0]}
    return {f"model-{n:05d}-of-{len(groups):05d}.safetensors": group for n, group in enumerate(groups, 1)}


def index(shards: Mapping[str, Mapping[str, Shape]], nbytes: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of model.safetensors.index.json."""
    numbers = sum(prod(shape) for shapes in shards.values() for shape in shapes.values())
    return {
        "metadata": {"total_parameters": numbers, "total_size": sum(nbytes.values())},
        "weight_map": {name: file for file, shapes in shards.items() for name in shapes},
    }
