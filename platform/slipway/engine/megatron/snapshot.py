"""A copy of a rank's share of the model and the optimizer, taken at once; assembled later, for writing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedBase, is_main_replica
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.engine.megatron import state as content
from slipway.engine.megatron import tensor_files
from slipway.engine.megatron.holders import holders
from slipway.engine.megatron.shards import shards


@dataclass
class Pieces:
    """One parameter's optimizer state as this rank holds it: copies of elements start:end, and who receives them."""

    like: Any
    names: tuple[str, ...]
    shape: torch.Size
    held: dict[str, Tensor]
    owner: int | None
    """The rank that writes the whole; None: this rank alone holds and writes it."""
    spans: Sequence[tuple[int, int, int]]
    """(rank, start, end) of all ranks that hold elements of it."""
    cut: bool = False
    """Whether the parameter itself is made from its fp32 copy."""


@dataclass
class Snapshot:
    """Copies of everything that a rank writes, or sends to the rank that writes it."""

    model: dict[str, Any]
    optimizer: list[Pieces]
    rng: dict[str, Any]

    def write(self, folder: Path, group: Any, waits: Callable[[bool], None]) -> None:
        """Assemble the pieces of the optimizer's state, then write; see slipway.engine.engine.Snapshot."""
        state = self.gathered(torch.distributed.get_rank(), group)
        tensor_files.write(state, folder, group, waits)

    def finish(self, folder: Path) -> None:
        """Add the format's other files; see slipway.engine.engine.Snapshot."""
        tensor_files.finish(folder)

    def gathered(self, rank: int, group: Any) -> dict[str, Any]:
        """Return the state dict that this rank is to write, with whole (model-parallel) optimizer tensors.

        Under the distributed optimizer a parameter's state is split anywhere over the data-parallel ranks. The rank
        that holds most of it receives the rest, so that no rank holds much more than its own share. group: a gloo group
        of all ranks, all of which call this.
        """
        state: dict[str, Any] = {}
        for index, piece in enumerate(self.optimizer):
            if piece.owner is None:
                size = piece.shape.numel()
                whole = {n: t.view(piece.shape) if t.numel() == size else t for n, t in piece.held.items()}
                state[str(index)] = content.sharded(piece.like, whole)
                continue
            received: dict[str, Any] = {name: _whole(piece, name, rank, group) for name in piece.names}
            if rank == piece.owner:
                replica = (*piece.like.replica_id[:-1], 0)
                state[str(index)] = content.sharded(piece.like, received, replica)
                if piece.cut and piece.like.data.dtype != torch.float32:
                    weights = received[content.FP32].to(piece.like.data.dtype)
                    state[str(index)]["parameter"] = replace(piece.like, data=weights, replica_id=replica)
        return {"model": self.model, "optimizer": state, "rng": self.rng}


class Snapshotter:
    """An object that takes snapshots of one model and optimizer; all ranks make it together.

    beside: training continues while a snapshot is used, so everything is copied; otherwise only what is on a GPU.
    """

    def __init__(self, config: RunConfig, chunks: list[Any], optimizer: Any, beside: bool) -> None:
        self.config, self.chunks, self.optimizer, self.beside = config, chunks, optimizer, beside
        self.spans = holders(list(shards(optimizer, config)))
        self.copies: dict[Any, Tensor] = {}

    @torch.no_grad()
    def take(self) -> Snapshot:
        """Return a copy of the current state; training may continue when this returns."""
        model = content.model_state(self.chunks)
        of_parameter = content.by_parameter(model)
        pieces, cut = [], set()
        held_here = shards(self.optimizer, self.config)
        for index, (shard, (owner, spans)) in enumerate(zip(held_here, self.spans, strict=True)):
            like: Any = of_parameter[shard.parameter]
            if shard.cut:
                cut.add(id(like))
            held = {}
            if owner is not None and not is_main_replica((*like.replica_id[:-1], 0)):
                continue  # another tensor-parallel rank's group writes the same
            if shard.end > shard.start and (owner is not None or is_main_replica(like.replica_id)):
                held = {n: self._copy((index, n), t.view(-1)) for n, t in content.tensors(shard).items()}
            if held or owner is not None:
                names, shape = content.names(shard, self.config), shard.parameter.shape
                pieces.append(Pieces(like, names, shape, held, owner, spans, shard.cut))
        written: dict[str, Any] = {}
        for chunk, entries in model.items():
            for name, entry in entries.items():
                if id(entry) in cut:
                    continue  # written with its optimizer state
                if isinstance(entry, ShardedBase) and is_main_replica(entry.replica_id):
                    tensor: Any = entry.data
                    like: Any = entry
                    written[f"{chunk}.{name}"] = replace(like, data=self._copy((chunk, name), tensor))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return Snapshot(written, pieces, content.rng_state())

    def _copy(self, key: Any, tensor: Tensor) -> Tensor:
        """Return a copy in host memory, which the next save reuses.

        If training waits for the save, the CPU tensor itself.
        """
        if not self.beside and tensor.device.type == "cpu":
            return tensor
        if key not in self.copies:
            self.copies[key] = torch.empty(
                tensor.shape, dtype=tensor.dtype, pin_memory=tensor.device.type == "cuda"
            )
        return self.copies[key].copy_(tensor, non_blocking=True)


def _whole(piece: Pieces, name: str, own: int, group: Any) -> Tensor | None:
    """Return the owner's whole tensor; on other ranks, send this rank's elements to the owner and return None."""
    if own != piece.owner:
        for rank, _, _ in piece.spans:
            if rank == own:
                torch.distributed.send(piece.held[name], dst=piece.owner, group=group)  # type: ignore[arg-type]
        return None
    whole = torch.empty(piece.shape, dtype=torch.float32)
    flat = whole.view(-1)
    for rank, start, end in piece.spans:
        if rank == own:
            flat[start:end].copy_(piece.held[name])
        else:
            torch.distributed.recv(flat[start:end], src=rank, group=group)
    return whole
