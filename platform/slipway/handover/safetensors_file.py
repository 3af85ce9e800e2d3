"""`.safetensors`: names, types and places as JSON, then the numbers; nothing in it can run.

The format: huggingface/safetensors, README, "Format". 8 bytes for the length of the JSON, little-endian; in it
`data_offsets` of each tensor, relative to its end, that leave no hole.
"""

import json
import sys
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slipway.errors import UserError
from slipway.models.formats import Shape

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DTYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_DTYPES |= {"BOOL": torch.bool}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_LARGEST_HEADER = 10**8  # as the library has it


def write(
    path: Path, shapes: dict[str, Shape], dtype: torch.dtype, tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Write tensors in the order in which they come, which is that of `shapes`; none is kept."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


class Source:
    """The tensors of a file, read one by one."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where the file is not of this format, or is cut off."""
        assert sys.byteorder == "little"
        self.path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > _LARGEST_HEADER:
                    raise ValueError(f"a header of {length} bytes")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            self.start = 8 + length
            self.entries = {name: _entry(entry) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(path, f"is not a file of safetensors: {error}") from None
        wanted = self.start + max((end for *_, end in self.entries.values()), default=0)
        if path.stat().st_size != wanted:
            raise UserError(path, f"has {path.stat().st_size} bytes, but its header says {wanted}")
        self.shapes: dict[str, Shape] = {name: shape for name, (_, shape, *_) in self.entries.items()}

    def read(self, name: str) -> Tensor:
        """One tensor."""
        dtype, shape, start, end = self.entries[name]
        content = bytearray(end - start)
        with self.path.open("rb") as file:
            file.seek(self.start + start)
            file.readinto(content)
        return (
            torch.frombuffer(content, dtype=dtype).reshape(shape)
            if content
            else torch.empty(shape, dtype=dtype)
        )


def _entry(entry: dict[str, Any]) -> tuple[torch.dtype, Shape, int, int]:
    dtype, shape, (start, end) = _DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    if start < 0 or end - start != prod(shape) * dtype.itemsize:
        raise ValueError(f"{end - start} bytes for a tensor of {shape}")
    return dtype, shape, start, end
