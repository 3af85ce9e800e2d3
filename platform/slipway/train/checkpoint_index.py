"""torch's index of a distributed checkpoint (.metadata) is a pickle: check it without trusting it.

Nothing that the index names is imported or called, so this needs no torch: a stand-in takes the place of every
class.
"""

import pickle
import re
from pathlib import Path
from typing import Any

from slipway.train.checkpoint_manifest import Damaged

INDEX = ".metadata"
_METADATA = "torch.distributed.checkpoint.metadata"
_ALLOWED = {
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
} | {
    (_METADATA, name)
    for name in (
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
    )
}
_MEMORY_FORMAT = (_METADATA, "_MEM_FORMAT_ENCODING")
_MEMORY_FORMATS = ("TORCH_CONTIGUOUS_FORMAT", "TORCH_CHANNELS_LAST", "TORCH_PRESERVE_FORMAT")
_DTYPE = re.compile(r"bool|u?int\d+|bfloat16|float\d+(_e\dm\d\w*)?|complex\d+")


class _StandIn:
    """Takes any arguments and any state, and does nothing."""

    def __new__(cls, *arguments: Any) -> "_StandIn":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


class _MemoryFormat(_StandIn):
    """For the one enumeration in an index."""


def _member(owner: Any, name: Any) -> _StandIn:
    """For getattr, by which early Pythons 3.11 (3.11.2) pickle an enumeration's member; it gets at nothing else."""
    if owner is _MemoryFormat and name in _MEMORY_FORMATS:
        return _StandIn()
    raise pickle.UnpicklingError("it names builtins.getattr")


class _Reader(pickle.Unpickler):
    """Knows the few classes that an index is made of; a planted payload names another one and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and _DTYPE.fullmatch(name)):
            return _StandIn
        if (module, name) == _MEMORY_FORMAT:
            return _MemoryFormat
        if (module, name) == ("builtins", "getattr"):
            return _member
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def check_index(path: Path) -> None:
    """Raise Damaged where the index of the checkpoint at `path` is unreadable or holds anything foreign."""
    try:
        with (path / INDEX).open("rb") as file:
            _Reader(file).load()
    except Exception as error:  # a damaged pickle fails in many ways
        raise Damaged(f"{INDEX}: damaged or not ours ({error}); nothing of it was used") from None
