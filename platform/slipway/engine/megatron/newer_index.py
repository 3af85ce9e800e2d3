"""Read checkpoints of a newer torch: a run moves between machines, and is exported on a laptop.

torch pickles the properties of each tensor in a checkpoint's index as a tuple, which newer versions make longer: 2.15
adds strides to the properties of 2.13, which would fail with "too many values to unpack". Nothing that is read here
needs more than the properties that all versions have, which come first.
"""

from typing import Any

from torch.distributed.checkpoint.metadata import TensorProperties

_known = len(TensorProperties().__getstate__())
_set_state = TensorProperties.__setstate__


def _of_any_version(self: TensorProperties, state: tuple[Any, ...]) -> None:
    _set_state(self, state[:_known])


def accept() -> None:
    """Make this process accept such indexes. Does nothing the second time."""
    TensorProperties.__setstate__ = _of_any_version
