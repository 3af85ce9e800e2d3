"""The optimizer's state parameter by parameter, for every optimizer class and sharding of Megatron-core."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from megatron.core import parallel_state
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer.optimizer import Float16OptimizerWithFloat16Params, MegatronOptimizer
from megatron.core.utils import to_local_if_dtensor
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.engine.megatron import fully_sharded
from slipway.optimizers import algorithm, builder
from slipway.optimizers.kind import Algorithm, Builder, State, states_of
from slipway.optimizers.matrix import Matrix


class Keeper(NamedTuple):
    """The keeper of the state: torch's optimizer, and the interface of its kind."""

    optimizer: torch.optim.Optimizer
    algorithm: Algorithm
    builder: Builder


@dataclass(frozen=True)
class Shard:
    """The part of one model parameter whose optimizer state this rank holds.

    start, end: elements of the flattened parameter; equal if another data-parallel rank holds all of it, and then main,
    keeper and group are None. main: the fp32 copy that is updated, end - start elements in any shape; if the model is
    fp32 it is the parameter itself. replicated: every data-parallel rank holds the same. cut: the parameter itself is
    sharded like its state, and whole only while it is used; main is what is kept.
    """

    parameter: Tensor
    start: int = 0
    end: int = 0
    main: Any = None
    keeper: Any = None
    group: Any = None
    replicated: bool = False
    cut: bool = False

    @property
    def has_main_copy(self) -> bool:
        """Whether main is an fp32 copy that a checkpoint must hold."""
        return self.parameter.dtype != torch.float32

    @property
    def matrix(self) -> Matrix | None:
        """The layout of the hidden matrices in the parameter; None: it holds none."""
        return matrix_of(self.parameter)

    @property
    def axis(self) -> int | None:
        """The axis from the end, -1 or -2, along which tensor-parallel ranks split a matrix; None: it is whole."""
        parameter: Any = self.parameter
        if not getattr(parameter, "tensor_model_parallel", False):
            return None
        return parameter.partition_dim - parameter.dim()

    def states(self) -> dict[str, Tensor]:
        """Return the optimizer's state, made of zeros before the first update; only for a shard that is not empty.

        A state shaped like the parameter is this rank's elements of it; otherwise it is one number, [].
        """
        kept = self.keeper.optimizer.state[self.main]
        states: list[State] = states_of(self.keeper.algorithm, self.matrix is not None)
        for state in states:
            if kept.get(state.name) is None:
                like = state.shape == "like"
                kept[state.name] = torch.zeros_like(self.main) if like else self._number()
        self.keeper.builder.begin(self.keeper.optimizer, self.main)
        return {s.name: to_local_if_dtensor(kept[s.name]) for s in states}

    def _number(self) -> Tensor:
        return torch.zeros((), dtype=torch.float32, device=self.main.device)

    def kept(self) -> Tensor:
        """Return this rank's elements of main, in its shape."""
        return to_local_if_dtensor(self.main).detach()

    def set_updates(self, updates: int) -> None:
        """Set the number of updates so far, if the optimizer counts them."""
        self.keeper.builder.set_updates(self.keeper.optimizer, self.group, self.main, updates)


def matrix_of(parameter: Tensor) -> Matrix | None:
    """Return the layout of the hidden matrices in a parameter [...]; None: it holds none.

    slipway.engine.megatron.matrices has noted it on the parameter.
    """
    return getattr(parameter, "matrix", None)


def shards(optimizer: MegatronOptimizer, config: RunConfig) -> Iterator[Shard]:
    """Yield every shard of this rank, in the same order on all data-parallel ranks."""
    for inner in inner_optimizers(optimizer):
        keeper = Keeper(inner.optimizer, algorithm(config), builder(config))
        if isinstance(inner, DistributedOptimizer):
            sharded = fully_sharded.is_fully_sharded(inner.model_chunks[0])
            yield from _fully_sharded_shards(inner, keeper) if sharded else _distributed_shards(inner, keeper)
        elif isinstance(inner, Float16OptimizerWithFloat16Params):
            for group, models, mains, fp32 in zip(
                keeper.optimizer.param_groups,
                inner.float16_groups,
                inner.fp32_from_float16_groups,
                inner.fp32_from_fp32_groups,
                strict=True,
            ):
                for model, main in [*zip(models, mains, strict=True), *((p, p) for p in fp32)]:
                    yield Shard(model, 0, model.numel(), main, keeper, group, True)
        else:
            for group in keeper.optimizer.param_groups:
                for parameter in group["params"]:
                    yield Shard(parameter, 0, parameter.numel(), parameter, keeper, group, True)


def _distributed_shards(inner: DistributedOptimizer, keeper: Keeper) -> Iterator[Shard]:
    for buffer in inner.buffers:
        for parameter in buffer.param_index_map:
            if parameter not in inner.model_param_gbuf_map:
                yield Shard(parameter)
                continue
            span = inner._get_model_param_range_map(parameter)["param"]
            index, order = inner.model_param_group_index_map[parameter]
            group = keeper.optimizer.param_groups[index]
            yield Shard(parameter, span.start, span.end, group["params"][order], keeper, group)


def _fully_sharded_shards(inner: Any, keeper: Keeper) -> Iterator[Shard]:
    groups = {main: group for group in keeper.optimizer.param_groups for main in group["params"]}
    for chunk in inner.model_chunks:
        for parameter, start, end, main in fully_sharded.stretches(chunk):
            if start == end:
                yield Shard(parameter, cut=True)
            else:
                yield Shard(parameter, start, end, main, keeper, groups[main], cut=True)


def is_expert(shard: Shard) -> bool:
    """Return whether the parameter belongs to an expert, which is replicated less often than the rest."""
    return not getattr(shard.parameter, "allreduce", True)


def data_parallel_group(shard: Shard) -> Any:
    """Return the group of ranks that share the parameter's optimizer state."""
    if is_expert(shard):
        return parallel_state.get_expert_data_parallel_group()
    return parallel_state.get_data_parallel_group(with_context_parallel=True)


def tensor_parallel_group(shard: Shard) -> Any:
    """Return the group of ranks that may have split the parameter among themselves."""
    if is_expert(shard):
        return parallel_state.get_expert_tensor_parallel_group()
    return parallel_state.get_tensor_model_parallel_group()


def inner_optimizers(optimizer: MegatronOptimizer) -> list[Any]:
    """Return the inner optimizers, for dense and for expert parameters, without those that have no parameters."""
    chained = getattr(optimizer, "chained_optimizers", [optimizer])
    return [o for o in chained if o.optimizer is not None and not getattr(o, "is_stub_optimizer", False)]
