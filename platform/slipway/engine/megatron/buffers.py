"""Buffers in checkpoints, such as BatchNorm's running statistics: equal on all replicas after every step.

Each replica's forward passes change its own buffers by its own samples. After a step the replicas' floating-point
buffers become their mean; others, which count batches, must be equal. So a checkpoint holds the state of every replica,
whoever writes it, and resuming in the same layout is exact.

The bias of a mixture's router is already equal on all ranks: finalize_model_grads computes it from the tokens of all.
"""

from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.transformer.moe.router import Router
from torch import Tensor

from slipway.errors import Fault


def persistent(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a checkpoint holds, of any shape, by name."""
    kept = {id(value) for value in module.state_dict(keep_vars=True).values()}
    return {name: value for name, value in module.named_buffers() if id(value) in kept}


class Buffers:
    """The persistent buffers of this rank's model chunks, by chunk and name."""

    def __init__(self, chunks: list[torch.nn.Module]) -> None:
        self.held: dict[str, Tensor] = {}
        self.own: dict[str, Tensor] = {}
        """The buffers that each replica changes by its own samples."""
        for index, chunk in enumerate(chunks):
            held = {f"{index}.{name}": value for name, value in persistent(chunk).items()}
            of_routers = {
                id(value) for part in chunk.modules() if isinstance(part, Router) for value in part.buffers()
            }
            self.held |= held
            self.own |= {name: value for name, value in held.items() if id(value) not in of_routers}
        self.before: dict[str, Tensor] = {}

    def remember(self) -> None:
        """Copy the buffers at the beginning of a step, so that restore can undo it."""
        self.before = {name: value.clone() for name, value in self.held.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Undo what the samples of a skipped step have changed in the statistics."""
        for name, value in self.before.items():
            self.held[name].copy_(value)

    @torch.no_grad()
    def synchronize(self) -> None:
        """Make all replicas' buffers equal; all of them call it. Raises Fault if counters differ."""
        group: Any = parallel_state.get_data_parallel_group(with_context_parallel=True)
        size = torch.distributed.get_world_size(group)
        if size == 1:
            return
        for name, value in self.own.items():
            if value.is_floating_point():
                torch.distributed.all_reduce(value, group=group)
                value.div_(size)
                continue
            least, most = value.clone(), value.clone()
            torch.distributed.all_reduce(least, op=torch.distributed.ReduceOp.MIN, group=group)
            torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX, group=group)
            if not torch.equal(least, most):
                raise Fault(
                    f"buffer {name}",
                    "differs between replicas, and replicas cannot agree on a mean of integers",
                    do="keep it as floating-point numbers, or compute it alike on every replica",
                )
