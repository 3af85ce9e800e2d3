"""Reads torch's index of a distributed checkpoint (.metadata), which is a pickle, without trusting it.

Nothing that the index names is imported or called, so this needs no torch: a stand-in takes the place of every class,
and keeps what it was given.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

from slipway.checkpoint.manifest import Damaged, look

INDEX = ".metadata"
_METADATA = "torch.distributed.checkpoint.metadata"
_STORED = "_StorageInfo"
_ALLOWED = {
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.distributed.checkpoint.filesystem", _STORED),
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
_SHARD = re.compile(r"__\d+_\d+\.distcp")


class Piece(NamedTuple):
    """The place of a tensor, or of a part of one: `length` bytes of a file in the checkpoint's folder."""

    file: str
    offset: int
    length: int


class _StandIn:
    """Takes any arguments and any state, and only keeps them."""

    def __new__(cls, *arguments: Any) -> "_StandIn":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    arguments: tuple[Any, ...]
    state: dict[Any, Any]

    def __setstate__(self, state: Any) -> None:
        self.state |= state if isinstance(state, dict) else {None: state}


class _MemoryFormat(_StandIn):
    """Stands in for the one enumeration in an index."""


class _Metadata(_StandIn):
    """Stands in for the index itself."""


class _Stored(_StandIn):
    """Stands in for a tensor's place."""


def _member(owner: Any, name: Any) -> _StandIn:
    """Replace getattr, with which early releases of Python 3.11 (3.11.2) pickle an enumeration's member.

    It reaches nothing else. Raises UnpicklingError for any other object or name.
    """
    if owner is _MemoryFormat and name in _MEMORY_FORMATS:
        return _StandIn()
    raise pickle.UnpicklingError("it names builtins.getattr")


class _Reader(pickle.Unpickler):
    """Knows the few classes that an index is made of; a planted payload names another one and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (_METADATA, "Metadata"):
            return _Metadata
        if (module, name) in _ALLOWED or (module == "torch" and _DTYPE.fullmatch(name)):
            return _Stored if name == _STORED else _StandIn
        if (module, name) == _MEMORY_FORMAT:
            return _MemoryFormat
        if (module, name) == ("builtins", "getattr"):
            return _member
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def check_index(path: Path) -> list[Piece]:
    """Return where the tensors of the checkpoint at `path` are.

    Raises Damaged if the index holds anything foreign, or would have a file read that is not in the folder; Unreadable
    if it cannot be read now.
    """
    content = look(path / INDEX, (path / INDEX).read_bytes)
    try:
        return _pieces(_Reader(io.BytesIO(content)).load())
    except Exception as error:  # a damaged pickle fails in many ways
        raise Damaged(f"{INDEX}: damaged or not ours ({error}); nothing of it was used") from None


def check_listed(pieces: list[Piece], listed: set[str], there: set[str], read: set[str]) -> None:
    """Raise Damaged if loading would read a file that the manifest lacks, or the index lacks a shard.

    listed: names in the manifest; there: names in the folder; read: files besides shards that loading reads.
    """
    named = {piece.file for piece in pieces}
    shards = {name for name in listed | there if _SHARD.fullmatch(name)}
    for name in sorted((named | (shards | read) & there) - listed):
        raise Damaged(f"{name}: is not in the manifest")
    for name in sorted(shards - named):
        raise Damaged(f"{name}: {INDEX} knows nothing of it")


def _pieces(index: Any) -> list[Piece]:
    if not isinstance(index, _Metadata) or index.arguments:
        raise ValueError("it is no index")
    stored = index.state.get("storage_data")
    if not isinstance(stored, dict):
        raise ValueError("it says of no tensor where it is")
    return [_piece(value) for value in stored.values()]


def _piece(stored: Any) -> Piece:
    if not isinstance(stored, _Stored) or stored.arguments:
        raise ValueError("it says in no known way where a tensor is")
    known = {"relative_path": str, "offset": int, "length": int, "transform_descriptors": type(None)}
    for name, value in stored.state.items():
        if type(value) is not known.get(name):
            raise ValueError(f"it says in no known way where a tensor is: {name!r}")
    piece = Piece(*(stored.state[name] for name in list(known)[:3]))
    if not _SHARD.fullmatch(piece.file):
        raise ValueError(f"{piece.file!r} is not a file of a checkpoint")
    if piece.offset < 0 or piece.length < 0:
        raise ValueError(f"{piece.file} has no {piece.length} bytes at {piece.offset}")
    return piece
