"""The ranks that hold a parameter's optimizer state, if the distributed optimizer or FSDP has sharded it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from slipway.engine.megatron.shards import Shard, data_parallel_group, is_expert


class Holders(NamedTuple):
    """The data-parallel ranks that hold one parameter."""

    owner: int | None = None
    """The rank that holds most of it; None: each holds all."""
    spans: Sequence[tuple[int, int, int]] = ()
    """(rank, start, end) of all ranks that hold elements of it."""


def holders(held: list[Shard]) -> list[Holders]:
    """Return the holders of each shard; all data-parallel ranks call it, with the same parameters in the same order."""
    plans = [Holders()] * len(held)
    for expert in (False, True):
        indices = [i for i, s in enumerate(held) if not s.replicated and is_expert(s) is expert]
        if not indices:
            continue
        group = data_parallel_group(held[indices[0]])
        members = torch.distributed.get_process_group_ranks(group)
        ranges: list[Any] = [None] * len(members)
        torch.distributed.all_gather_object(
            ranges, [(held[i].start, held[i].end) for i in indices], group=group
        )
        for position, index in enumerate(indices):
            spans = [
                (rank, *of_rank[position])
                for rank, of_rank in zip(members, ranges, strict=True)
                if of_rank[position][1] > of_rank[position][0]
            ]
            owner = max(spans, key=lambda span: span[2] - span[1])[0]
            plans[index] = Holders(owner, spans)
    return plans
