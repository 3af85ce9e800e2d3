"""Hidden matrices as wholes, for optimizers that need them so: assembled, and distributed again.

The distributed optimizer shards a rank's parameters anywhere, so that most matrices have one holder among the
data-parallel ranks: it receives the few elements that others hold (in arXiv 2502.16982, section 2.3, every holder
gathers the whole). Without it all data-parallel ranks hold the same: each computes a part of the matrices, and receives
all the results. Of matrices that tensor-parallel ranks have split, each rank gets a different one whole, so that no
product is computed twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedBase
from torch import Tensor
from torch.distributed import P2POp, batch_isend_irecv

from slipway.config.schema import RunConfig
from slipway.engine.megatron.holders import Holders, holders
from slipway.engine.megatron.shards import (
    Shard,
    data_parallel_group,
    inner_optimizers,
    shards,
    tensor_parallel_group,
)
from slipway.models.network import Network
from slipway.optimizers import builder
from slipway.optimizers.kind import Held, MatrixBuilder

Piece = Callable[[int], Tensor]
Function = Callable[[int, Tensor], Tensor]
Take = Callable[[int, Tensor], None]


def mark(config: RunConfig, network: Network, state: dict[str, Any]) -> None:
    """Note on each parameter that is a hidden matrix how it is one, for slipway.engine.megatron.shards.matrix_of.

    state: a model chunk's sharded state dict.
    """
    for entry in nested_values(state):
        parameter: Any = getattr(entry, "data", None)
        if isinstance(entry, ShardedBase) and isinstance(parameter, torch.nn.Parameter):
            matrix = network.matrix(config, entry.key, tuple(parameter.shape))
            parameter.matrix = matrix  # type: ignore[attr-defined]


def arrange(optimizer: Any, config: RunConfig) -> None:
    """Tell the configured optimizer its hidden matrices, if it needs them; all ranks call it."""
    tell = builder(config)
    if not isinstance(tell, MatrixBuilder):
        return
    for inner in inner_optimizers(optimizer):
        held = [(shard, shard.matrix) for shard in shards(inner, config)]
        mains = [Held(matrix, shard.main) for shard, matrix in held if matrix is not None]
        wholes = Wholes([shard for shard, matrix in held if matrix is not None])
        tell.arrange(inner.optimizer, mains, wholes)


class Wholes:
    """The hidden matrices of one optimizer, whose parameters have the same replicas.

    See slipway.optimizers.kind.Wholes.
    """

    def __init__(self, held: Sequence[Shard]) -> None:
        """Divide the matrices among the data-parallel ranks, all of which call it."""
        self.held = held
        self.holders = holders(list(held))
        self.rank = torch.distributed.get_rank()
        if held:
            self.replicas: Any = data_parallel_group(held[0])
            self.tensor_group: Any = tensor_parallel_group(held[0])
            self.cut = [shard.axis is not None and self.tensor_group.size() > 1 for shard in held]

    def apply(self, piece: Piece, function: Function, take: Take) -> None:
        """Assemble each matrix, [matrices, rows, columns], apply a function to it, and distribute the result."""
        if not self.held:
            return
        if self.held[0].replicated:
            self._of_replicas(piece, function, take)
        else:
            self._of_holders(piece, function, take)

    def _of_holders(self, piece: Piece, function: Function, take: Take) -> None:
        """Compute each matrix on the one rank that holds most of it."""
        shared = {i: of_one for i, of_one in enumerate(self.holders) if len(of_one.spans) > 1}
        whole = self._brought_together(shared, piece)
        mine = [i for i, of_one in enumerate(self.holders) if of_one.owner == self.rank]
        for bundle in self._bundles(mine):
            updates = [whole[i] if i in shared else piece(i) for i in bundle]
            for index, result in zip(bundle, self._across(bundle, updates, function), strict=True):
                if index in shared:
                    whole[index] = result
                else:
                    take(index, result)
        for index, part in self._handed_out(shared, whole).items():
            take(index, part)

    def _brought_together(self, shared: Mapping[int, Holders], piece: Piece) -> dict[int, Tensor]:
        """Return the matrices that several ranks hold: assembled if this rank holds most of one, else its elements.

        They are assembled only as tensor-parallel ranks have split them.
        """
        operations, found = [], {}
        for index, (owner, spans) in shared.items():
            if self.held[index].main is None:
                continue
            own = piece(index).reshape(-1)
            if owner != self.rank:
                found[index] = own
                operations.append(P2POp(torch.distributed.isend, own, owner, self.replicas))
                continue
            found[index] = own.new_empty(self.held[index].parameter.numel())
            for rank, start, end in spans:
                part = found[index][start:end]
                if rank == self.rank:
                    part.copy_(own)
                else:
                    operations.append(P2POp(torch.distributed.irecv, part, rank, self.replicas))
        _exchange(operations)
        return found

    def _handed_out(self, shared: Mapping[int, Holders], whole: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return this rank's elements of each result, which its owner sends."""
        operations, parts = [], {}
        for index, tensor in whole.items():
            owner, spans = shared[index]
            if owner != self.rank:
                parts[index] = torch.empty_like(tensor)
                operations.append(P2POp(torch.distributed.irecv, parts[index], owner, self.replicas))
                continue
            for rank, start, end in spans:
                if rank == self.rank:
                    parts[index] = tensor[start:end]
                else:
                    operations.append(P2POp(torch.distributed.isend, tensor[start:end], rank, self.replicas))
        _exchange(operations)
        return parts

    def _of_replicas(self, piece: Piece, function: Function, take: Take) -> None:
        """Divide the matrices among the ranks that all hold them, and compute each on one rank."""
        members = torch.distributed.get_process_group_ranks(self.replicas)
        bundles = list(self._bundles(range(len(self.held))))
        for first in range(0, len(bundles), len(members)):
            here = list(zip(members, bundles[first : first + len(members)], strict=False))
            updates = {index: piece(index) for _, bundle in here for index in bundle}
            for rank, bundle in here:
                if rank == self.rank:
                    results = self._across(bundle, [updates[i] for i in bundle], function)
                    updates |= dict(zip(bundle, results, strict=True))
            for rank, bundle in here:
                for index in bundle:
                    update = updates.pop(index).reshape(-1)
                    if len(members) > 1:
                        torch.distributed.broadcast(update, rank, self.replicas)
                    take(index, update)

    def _bundles(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Yield the matrices that tensor-parallel ranks take at once.

        These are one for each rank, the largest first, or a single one that all ranks have whole.
        """
        cut = [index for index in indices if self.cut[index]]
        cut.sort(key=lambda index: -self.held[index].parameter.numel())
        size = self.tensor_group.size()
        yield from (cut[first : first + size] for first in range(0, len(cut), size))
        yield from ([index] for index in indices if not self.cut[index])

    def _across(self, bundle: Sequence[int], updates: Sequence[Tensor], function: Function) -> list[Tensor]:
        """Return this rank's cuts of a function's results on whole matrices.

        updates: this tensor-parallel rank's cuts of the matrices.
        """
        shapes = [self.held[index].parameter.shape for index in bundle]
        if not self.cut[bundle[0]]:
            shape = _with_experts(shapes[0])
            return [function(bundle[0], updates[0].view(shape)).reshape(-1)]
        size, rank = self.tensor_group.size(), self.tensor_group.rank()
        cuts = [shape.numel() for shape in shapes] + [0] * (size - len(bundle))
        mine = [cuts[rank]] * size
        received = updates[0].new_empty(sum(mine))
        sent = torch.cat([update.reshape(-1) for update in updates])
        torch.distributed.all_to_all_single(received, sent, mine, cuts, group=self.tensor_group)
        if rank < len(bundle):
            index, shape = bundle[rank], _with_experts(shapes[rank])
            axis: Any = self.held[index].axis
            whole = torch.cat([part.view(shape) for part in received.split(mine)], axis)
            parts = function(index, whole).split(shape[axis], axis)
            received = torch.cat([part.reshape(-1) for part in parts])
        back = torch.empty_like(sent)
        torch.distributed.all_to_all_single(back, received, cuts, mine, group=self.tensor_group)
        return list(back.split(cuts[: len(bundle)]))


def _with_experts(shape: torch.Size) -> tuple[int, ...]:
    """Return the shape [matrices, rows, columns]."""
    return (1,) * (3 - len(shape)) + tuple(shape)


def _exchange(operations: list[P2POp]) -> None:
    for work in batch_isend_irecv(operations) if operations else []:
        work.wait()
