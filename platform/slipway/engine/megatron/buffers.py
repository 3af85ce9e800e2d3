"""Buffers that checkpoints hold, such as BatchNorm's running statistics: the same on all replicas after every step.

Each replica's forward passes change its own from its own samples. After a step the replicas' floating-point buffers
become their mean; others, which count batches, must be equal. So a checkpoint holds what every replica has, whoever
writes it, and a continuation in the same layout is exact.

The bias of a mixture's router is the same on all ranks already: finalize_model_grads makes it from the tokens of all.
"""

from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.transformer.moe.router import Router
from torch import Tensor

from slipway.errors import Fault


def persistent(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a checkpoint holds, by name."""
    kept = {id(value) for value in module.state_dict(keep_vars=True).values()}
    return {name: value for name, value in module.named_buffers() if id(value) in kept}


class Buffers:
    """The persistent buffers of this rank's model chunks, by chunk and name."""

    def __init__(self, chunks: list[torch.nn.Module]) -> None:
        self.held: dict[str, Tensor] = {}
        self.own: dict[str, Tensor] = {}
        """Those that each replica changes by its own samples."""
        for index, chunk in enumerate(chunks):
            held = {f"{index}.{name}": value for name, value in persistent(chunk).items()}
            of_routers = {
                id(value) for part in chunk.modules() if isinstance(part, Router) for value in part.buffers()
            }
            self.held |= held
            self.own |= {name: value for name, value in held.items() if id(value) not in of_routers}
        self.before: dict[str, Tensor] = {}

    def remember(self) -> None:
        """A step begins."""
        self.before = {name: value.clone() for name, value in self.held.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """The step is left out: what its samples have done to the statistics, too."""
        for name, value in self.before.items():
            self.held[name].copy_(value)

    @torch.no_grad()
    def synchronize(self) -> None:
        """Make all replicas' alike; all of them call it. Raises Fault where counters differ."""
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
                    f"buffer {name}", "differs between replicas, and integers have no mean to agree on"
                )
