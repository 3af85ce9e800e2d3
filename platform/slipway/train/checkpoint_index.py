"""torch's index of a distributed checkpoint (.metadata) is a pickle: read it without trusting it."""

import pickle
from pathlib import Path
from typing import Any

import torch

from slipway.errors import UserError

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
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )
}


class _Reader(pickle.Unpickler):
    """Knows the few classes that an index is made of; a planted payload names another one and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (
            module == "torch" and isinstance(getattr(torch, name), torch.dtype)
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def check_index(path: Path) -> None:
    """Raise UserError where the index of the checkpoint at `path` is unreadable or holds anything foreign."""
    try:
        with (path / INDEX).open("rb") as file:
            _Reader(file).load()
    except Exception as error:  # a damaged pickle fails in many ways
        raise UserError(
            f"checkpoint {path}: its index {INDEX} is damaged or not ours ({error}); nothing of it was used, "
            "remove this folder to continue from the checkpoint before it"
        ) from None
