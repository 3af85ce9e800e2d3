"""Locate the numbers of a tensor in a checkpoint's file, so that only they are read, in place.

A tensor is stored as torch.save writes it: a zip file, here within a larger file, with a small pickle that says how the
numbers lie in a record of bytes. Nothing that the pickle names is imported or called. Imports no torch.
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from slipway.files import Slice

_REBUILD = ("_rebuild_tensor_v2", "_rebuild_tensor_v3")


class Place(NamedTuple):
    """The place of a tensor's numbers: row-major, from an offset in a file."""

    file: Path
    offset: int
    """The offset in bytes."""


def place(path: Path, offset: int, length: int, shape: tuple[int, ...], itemsize: int) -> Place:
    """Return where the numbers of a tensor are whose zip file is `length` bytes of a file, from `offset`.

    shape: of the tensor. itemsize: bytes of a number. Raises ValueError if the tensor is not stored so.
    """
    with path.open("rb") as file:
        piece = Slice(file, offset, length)
        with zipfile.ZipFile(piece) as archive:
            (described,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            found = _Reader(io.BytesIO(archive.read(described))).load()
            if not isinstance(found, _Tensor) or found.shape != shape or found.strides != _row_major(shape):
                raise ValueError(f"{path.name}: at {offset}: no tensor of {shape}, row by row")
            record = archive.getinfo(f"{described.rpartition('/')[0]}/data/{found.record}")
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{path.name}: at {offset}: compressed")
        piece.seek(record.header_offset)
        header = piece.read(30)  # APPNOTE 4.3.7: at 26 and 28 the lengths of the name and the extra field
        begin = (
            record.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        )
    first = begin + found.start * itemsize
    numbers = 1
    for size in shape:
        numbers *= size
    if found.start < 0 or first + numbers * itemsize > min(begin + record.file_size, length):
        raise ValueError(f"{path.name}: at {offset}: fewer numbers than {shape}")
    return Place(path, offset + first)


class _Tensor(NamedTuple):
    """The pickle's description: numbers of a record, from one of them on."""

    record: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """An unpickler that knows what a tensor is made of, and makes none."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in _REBUILD:
            return lambda record, start, shape, strides, *rest: _Tensor(record, start, shape, strides)
        if module == "collections" and name == "OrderedDict":
            return dict
        if module in ("torch", "torch.storage"):
            return None  # the type of the numbers, which is also in the index
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
