"""`.safetensors`: names, types and places as JSON, then the numbers; nothing in it can run.

The format is that of huggingface/safetensors, README, "Format": 8 bytes for the length of the JSON, little-endian, then
the JSON with the `data_offsets` of each tensor. They are relative to the JSON's end and leave no hole.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slipway.errors import UserError
from slipway.models.formats import Shape

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DTYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_DTYPES |= {"BOOL": torch.bool}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PIECE = 2**22  # bytes
_LARGEST_HEADER = 10**8  # bytes, as in the library


def write(
    path: Path,
    shapes: dict[str, Shape],
    dtypes: Mapping[str, torch.dtype],
    tensors: Iterable[tuple[str, Tensor]],
) -> None:
    """Write tensors in the order of `shapes`, in which they come, and keep none of them in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * dtypes[name].itemsize
        header[name] = {"dtype": _NAMES[dtypes[name]], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            del tensor  # before the next is made: it may be large


class Source:
    """The tensors of a file, read one by one."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises UserError if the file is not of this format or is cut off, or if its header contradicts itself.
        """
        assert sys.byteorder == "little"
        self.path = path
        size = path.stat().st_size
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > min(_LARGEST_HEADER, max(0, size - 8)):
                    raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
                header = json.loads(file.read(length), object_pairs_hook=_without_doubles)
            header.pop("__metadata__", None)
            self.start = 8 + length
            self.entries = {name: _entry(name, entry) for name, entry in header.items()}
            _check_no_hole(self.entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                path, f"is not a file of safetensors: {error}", do="replace it with a good copy"
            ) from None
        wanted = self.start + max((one.end for one in self.entries.values()), default=0)
        if size != wanted:
            raise UserError(
                path, f"has {size:,} bytes, but its header says {wanted:,}", do="copy the file again"
            )
        self.shapes: dict[str, Shape] = {name: one.shape for name, one in self.entries.items()}
        self.types: dict[str, str] = {name: one.type for name, one in self.entries.items()}

    def read(self, name: str) -> Tensor:
        """Return a tensor in the shape that `shapes` has for it. Raises UserError if torch lacks the type."""
        one = self.entries[name]
        return self._numbers(name, one.start, one.end).reshape(one.shape)

    def pieces(self, name: str) -> Iterator[Tensor]:
        """Yield the numbers of a tensor in pieces of shape [n]."""
        one = self.entries[name]
        for start in range(one.start, one.end, _PIECE):
            yield self._numbers(name, start, min(start + _PIECE, one.end))

    def _numbers(self, name: str, start: int, end: int) -> Tensor:
        kind = self.entries[name].type
        if kind not in _DTYPES:
            raise UserError(self.path, f"{name} is {kind}", use="F32, BF16 or F16")
        if start == end:
            return torch.empty(0, dtype=_DTYPES[kind])
        content = bytearray(end - start)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start + start)
            view = memoryview(content)
            while view:
                found = file.readinto(view)
                if not found:
                    raise UserError(
                        self.path,
                        f"ended within {name}: it was changed while it was read",
                        do="run the same command again once nothing writes to it",
                    )
                view = view[found:]
        return torch.frombuffer(content, dtype=_DTYPES[kind])


class _Entry(NamedTuple):
    """A tensor in a file; its bytes count from the end of the header."""

    type: str
    shape: Shape
    start: int
    end: int


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _entry(name: str, entry: dict[str, Any]) -> _Entry:
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, *offsets]
    if len(offsets) != 2 or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"{name} has the shape {shape} at {offsets}")
    start, end = offsets
    if kind in _DTYPES and end - start != prod(shape) * _DTYPES[kind].itemsize:
        raise ValueError(f"{name} has {end - start:,} bytes for {shape} of {kind}")
    return _Entry(str(kind), tuple(shape), start, end)


def _check_no_hole(entries: dict[str, _Entry]) -> None:
    """Raise ValueError if some bytes belong to no tensor, or to two."""
    at = 0
    for name, one in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if one.start != at or one.end < one.start:
            raise ValueError(f"{name} is at {one.start:,} to {one.end:,}, and not from {at:,}")
        at = one.end
