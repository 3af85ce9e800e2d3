"""A checkpoint's tensors for one process: read and written part by part, without Megatron-core and process groups.

A part is a tensor, or what of it stands at one place of its leading axes: one layer of a key that all layers share.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import create_default_global_save_plan
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    ReadItem,
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)

from slipway.engine.megatron.keys import FP32, is_weight, of_state

Shape = tuple[int, ...]
COMMON, FORMAT = "common.pt", "metadata.json"
BACKENDS = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
BACKENDS |= {"common_backend": "torch", "common_backend_version": 1}
"""What Megatron-core's CheckpointingConfig says of the format (tensor_files.finish)."""


class Weight(NamedTuple):
    """A parameter of the whole model."""

    leading: Shape
    """How many parts there are along each leading axis: (layers,), or ()."""
    shape: Shape
    """Of each part."""


class Reader:
    """The weights in a checkpoint's folder, whose index has been checked (slipway.checkpoint.store.verify)."""

    def __init__(self, folder: Path) -> None:
        self.files = dcp.FileSystemReader(folder)
        index = self.files.read_metadata()
        self.files.set_up_storage_reader(index, is_coordinator=True)
        self.tensors: dict[str, Any] = index.state_dict_metadata
        self.shapes: dict[str, Shape] = {
            key: tuple(entry.size) for key, entry in self.tensors.items() if is_weight(key)
        }

    def dtype(self, key: str) -> torch.dtype:
        """In which a weight is trained with."""
        return self.tensors[key].properties.dtype

    def main(self, key: str) -> str:
        """The key of what training updates: the fp32 copy, where there is one."""
        copy = of_state(FP32, key)
        return copy if copy in self.tensors else key

    def read(self, key: str, at: Shape) -> Tensor:
        """The part of a tensor at one place of its leading axes."""
        entry = self.tensors[key]
        rest = tuple(entry.size)[len(at) :]
        whole = torch.empty((1,) * len(at) + rest, dtype=entry.properties.dtype)
        items = []
        for chunk in entry.chunks:
            start = [max(a, b) for a, b in zip((*at, *(0 for _ in rest)), chunk.offsets, strict=True)]
            ends = zip((*(n + 1 for n in at), *rest), chunk.offsets, chunk.sizes, strict=True)
            lengths = [min(end, o + s) - begin for begin, (end, o, s) in zip(start, ends, strict=True)]
            if all(length > 0 for length in lengths):
                wanted = [begin - n for begin, n in zip(start, (*at, *(0 for _ in rest)), strict=True)]
                items.append(_item(key, chunk.offsets, wanted, start, lengths))
        into: Any = _Into(whole)
        self.files.read_data(LoadPlan(items), into).wait()
        if sum(item.lengths.numel() for item in items) != whole.numel():
            raise ValueError(f"{key} is not whole in {self.files.path}")
        return whole.reshape(rest)


def _item(
    key: str, of_chunk: Sequence[int], wanted: list[int], start: list[int], lengths: list[int]
) -> ReadItem:
    """A box of a chunk, and where it belongs."""
    return ReadItem(
        type=LoadItemType.TENSOR,
        dest_index=MetadataIndex(key),
        dest_offsets=torch.Size(wanted),
        storage_index=MetadataIndex(key, torch.Size(of_chunk)),
        storage_offsets=torch.Size([s - o for s, o in zip(start, of_chunk, strict=True)]),
        lengths=torch.Size(lengths),
    )


class _Into:
    """What torch asks of a LoadPlanner while it reads."""

    def __init__(self, whole: Tensor) -> None:
        self.whole = whole

    def resolve_tensor(self, item: ReadItem) -> Tensor:
        box = [slice(o, o + n) for o, n in zip(item.dest_offsets, item.lengths, strict=True)]
        return self.whole[tuple(box)]

    def commit_tensor(self, item: ReadItem, tensor: Tensor) -> None:
        """It was read in place."""


def write(
    folder: Path,
    weights: Mapping[str, Weight],
    value: Callable[[str, Shape], Tensor],
    dtype: torch.dtype,
) -> None:
    """Write a model that no optimizer has updated, without the optimizer's states: they are zero.

    value: a part of a weight, in fp32; it is stored as `dtype` with, where that is another, its fp32 copy, for which it
    is asked again. What `value` raises passes through.
    """
    folder.mkdir(exist_ok=True)
    writer = dcp.FileSystemWriter(folder, sync_files=True, thread_count=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is one process only
            dcp.save({}, storage_writer=writer, planner=_Parts(weights, value, dtype), no_dist=True)
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None
    torch.save({}, folder / COMMON)
    (folder / FORMAT).write_text(json.dumps(BACKENDS))


class _Parts(dcp.SavePlanner):
    """Every part is a chunk of its own, and is asked for when it is written."""

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
                self._add(key, weight, at, dtype, lambda k=key, a=at: value(k, a).to(dtype))
                if dtype != torch.float32:
                    self._add(of_state(FP32, key), weight, at, torch.float32, lambda k=key, a=at: value(k, a))

    def _add(
        self, key: str, weight: Weight, at: Shape, dtype: torch.dtype, value: Callable[[], Tensor]
    ) -> None:
        sizes = torch.Size((1,) * len(at) + weight.shape)
        offsets = torch.Size((*at, *(0 for _ in weight.shape)))
        self.values[key, offsets] = lambda: value().reshape(sizes)
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
