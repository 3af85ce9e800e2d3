"""Samples stacked into a batch."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from slipway.errors import Fault

Batch = dict[str, torch.Tensor]


def collate(samples: Sequence[Mapping[str, Any]], fields: Collection[str] | None = None) -> Batch:
    """Return the samples stacked field by field, each field as a tensor of shape [b, ...] for b samples.

    fields: those that the batch has; None: all that the samples have. Raises Fault, naming the fields, if samples
    differ in fields, shapes or types.
    """
    names = list(samples[0]) if fields is None else sorted(fields)
    for sample in samples:
        if missing := set(names) - sample.keys():
            raise Fault(
                "data",
                f"a sample lacks {_listed(missing)}; it has {_listed(sample)}",
                do="return the same fields for every sample",
            )
        if fields is None and (more := sample.keys() - set(names)):
            raise Fault(
                "data",
                f"samples of one batch differ: only some have {_listed(more)}",
                do="return the same fields for every sample",
            )
    return {name: _stacked(name, [sample[name] for sample in samples]) for name in names}


def _stacked(name: str, values: Sequence[Any]) -> torch.Tensor:
    try:
        tensors = [torch.as_tensor(value) for value in values]
    except (TypeError, ValueError, RuntimeError):
        kinds = {type(value).__name__ for value in values}
        raise Fault(
            "data", f"the field {name} is {_listed(kinds)}", use="a tensor, an array or a number"
        ) from None
    if len({(tensor.shape, tensor.dtype) for tensor in tensors}) > 1:
        found = {f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors}
        raise Fault(
            "data",
            f"the field {name} differs within a batch: {_listed(found)}",
            do="return one shape and one dtype for every sample",
        )
    return torch.stack(tensors)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
