"""A checkpoint's tensors for one process: read and written part by part, without Megatron-core and process groups.

A part is a tensor, or the slice of it at one index of its leading axes: one layer of a key that all layers share.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import create_default_global_save_plan
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import (
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from slipway.engine.megatron import newer_index
from slipway.engine.megatron.keys import FP32, is_weight, of_state
from slipway.engine.megatron.records import place

Shape = tuple[int, ...]
_FILE = "__0_0.distcp"
COMMON, FORMAT = "common.pt", "metadata.json"
BACKENDS = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
BACKENDS |= {"common_backend": "torch", "common_backend_version": 1}
"""The format, as in Megatron-core's CheckpointingConfig (tensor_files.finish)."""


class Weight(NamedTuple):
    """A parameter, or a buffer, of the whole model."""

    leading: Shape
    """The number of parts along each leading axis: (layers,), or ()."""
    shape: Shape
    """The shape of each part."""
    buffer: bool = False
    """Whether it is a buffer, which no optimizer updates: fp32 in every precision, without an fp32 copy."""


class Reader:
    """The weights in a checkpoint's folder, whose index has been checked (slipway.checkpoint.store.verify)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        newer_index.accept()
        index = dcp.FileSystemReader(folder).read_metadata()
        self.stored: Any = index.storage_data
        self.tensors: dict[str, Any] = index.state_dict_metadata
        self.shapes: dict[str, Shape] = {
            key: tuple(entry.size) for key, entry in self.tensors.items() if is_weight(key)
        }

    def dtype(self, key: str) -> torch.dtype:
        """Return the type that a weight is trained in."""
        return self.tensors[key].properties.dtype

    def main(self, key: str) -> str:
        """Return the key of the tensor that training updates: the fp32 copy, if there is one."""
        copy = of_state(FP32, key)
        return copy if copy in self.tensors else key

    def read(self, key: str, at: Shape) -> Tensor:
        """Return the part [...] of a tensor at one index of its leading axes. Raises ValueError if it is incomplete."""
        entry, axes = self.tensors[key], len(at)
        shape = tuple(entry.size)[axes:]
        whole: Tensor | None = None
        filled = 0
        for chunk in entry.chunks:
            inner = [place - start for place, start in zip(at, chunk.offsets, strict=False)]
            if not all(0 <= i < n for i, n in zip(inner, chunk.sizes, strict=False)):
                continue
            numbers = self._read(key, chunk, inner)
            if tuple(numbers.shape) == shape:
                return numbers
            whole = torch.empty(shape, dtype=numbers.dtype) if whole is None else whole
            box = [slice(o, o + n) for o, n in zip(chunk.offsets[axes:], chunk.sizes[axes:], strict=True)]
            whole[tuple(box)] = numbers
            filled += numbers.numel()
        if whole is None or filled != whole.numel():
            raise ValueError(f"{key} is not whole in {self.folder}")
        return whole

    def _read(self, key: str, chunk: ChunkStorageMetadata, inner: list[int]) -> Tensor:
        """Return the slice of a chunk at one index of its leading axes, which is contiguous in the file."""
        stored = self.stored[MetadataIndex(key, chunk.offsets)]
        dtype, sizes = self.dtype(key), tuple(chunk.sizes)
        found = place(self.folder / stored.relative_path, stored.offset, stored.length, sizes, dtype.itemsize)
        shape = sizes[len(inner) :]
        number = 0
        for i, n in zip(inner, sizes, strict=False):
            number = number * n + i
        content = bytearray(dtype.itemsize * prod(shape))
        if not content:
            return torch.empty(shape, dtype=dtype)
        with found.file.open("rb") as file:
            file.seek(found.offset + number * len(content))
            if file.readinto(content) != len(content):
                raise ValueError(f"{found.file} is cut off")
        return torch.frombuffer(content, dtype=dtype).reshape(shape)


def write(
    folder: Path,
    weights: Mapping[str, Weight],
    value: Callable[[str, Shape], Tensor],
    dtype: torch.dtype,
) -> None:
    """Write a model that no optimizer has updated, without the optimizer's states, which are zero.

    value: returns a part of a weight, in fp32, in Weight.shape; it is stored as `dtype` and, if that is not fp32, also
    as an fp32 copy, for which it is called again; a buffer is stored only in fp32. Exceptions of `value` pass through.
    """
    folder.mkdir(exist_ok=True)
    writer = _OneByOne(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that there is only one process
            dcp.save({}, storage_writer=writer, planner=_Parts(weights, value, dtype), no_dist=True)
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None
    torch.save({}, folder / COMMON)
    (folder / FORMAT).write_text(json.dumps(BACKENDS))


class _OneByOne(dcp.FileSystemWriter):
    """A writer of all tensors to one file that keeps none of them: torch's own holds one while the next is made."""

    def write_data(self, plan: SavePlan, planner: dcp.SavePlanner) -> Future[list[WriteResult]]:
        results = []
        with (Path(self.path) / _FILE).open("wb") as stream:
            for item in plan.items:
                start = stream.tell()
                torch.save(planner.resolve_data(item), stream)
                length = stream.tell() - start
                results.append(WriteResult(item.index, length, _StorageInfo(_FILE, start, length)))
            stream.flush()
            os.fsync(stream.fileno())
        written: Future[list[WriteResult]] = Future()
        written.set_result(results)
        return written


class _Parts(dcp.SavePlanner):
    """A planner that makes every part a chunk of its own, and asks for it when it is written."""

    def __init__(
        self,
        weights: Mapping[str, Weight],
        value: Callable[[str, Shape], Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.items: list[WriteItem] = []
        self.values: dict[tuple[str, torch.Size], Callable[[], Tensor]] = {}
        for key, weight in weights.items():
            for at in product(*map(range, weight.leading)):
                if weight.buffer:
                    self._add(key, weight, at, torch.float32, lambda k=key, a=at: value(k, a))
                    continue
                self._add(key, weight, at, dtype, lambda k=key, a=at: value(k, a).to(dtype))
                if dtype != torch.float32:
                    self._add(of_state(FP32, key), weight, at, torch.float32, lambda k=key, a=at: value(k, a))

    def _add(
        self, key: str, weight: Weight, at: Shape, dtype: torch.dtype, value: Callable[[], Tensor]
    ) -> None:
        sizes = torch.Size((1,) * len(at) + weight.shape)
        offsets = torch.Size((*at, *(0 for _ in weight.shape)))
        self.values[key, offsets] = lambda: _alone(value()).reshape(sizes)
        chunk = TensorWriteData(
            ChunkStorageMetadata(offsets, sizes),
            TensorProperties(dtype=dtype),
            torch.Size((*weight.leading, *weight.shape)),
        )
        self.items.append(WriteItem(MetadataIndex(key, offsets), WriteItemType.SHARD, tensor_data=chunk))

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        pass

    def create_local_plan(self) -> SavePlan:
        return SavePlan(self.items)

    def create_global_plan(self, all_plans: list[SavePlan]) -> Any:
        return create_default_global_save_plan(all_plans)

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        offset = write_item.index.offset
        assert offset is not None
        return self.values[write_item.index.fqn, offset]()


def _alone(tensor: Tensor) -> Tensor:
    """Return a tensor that is row-major and has its memory to itself: torch.save writes all of a tensor's memory."""
    tensor = tensor.contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
