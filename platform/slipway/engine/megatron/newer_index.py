"""Checkpoints of a newer torch, read by this one: a run moves between machines, and is exported on a laptop.

torch pickles the properties of each tensor in a checkpoint's index as a tuple, which newer versions make longer: 2.15
adds strides to what 2.13 has, which would end with "too many values to unpack". Nothing that is read here depends on
more than what all versions have, which come first.
"""

from typing import Any

from torch.distributed.checkpoint.metadata import TensorProperties

_known = len(TensorProperties().__getstate__())
_set_state = TensorProperties.__setstate__


def _of_any_version(self: TensorProperties, state: tuple[Any, ...]) -> None:
    _set_state(self, state[:_known])


def accept() -> None:
    """Let this process read such indexes. Does nothing the second time."""
    TensorProperties.__setstate__ = _of_any_version
