"""The time of what data-parallel ranks exchange, and of the optimizer's update."""

from collections.abc import Sequence

from slipway.config.schema import RunConfig
from slipway.models.family import Shard
from slipway.models.work import Collective
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter
from slipway.plan.layout import Grid
from slipway.plan.step import groups
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.layer import Rounds, beside_work
from slipway.plan.step.stages import Job, Stage


def parameter_bytes(config: RunConfig) -> int:
    """Return the bytes of each parameter as products read it."""
    return 2 if config.training.precision == "bf16" else 4


def exchange(kind: Collective, shard: Shard, each: int, grid: Grid, hardware: Hardware) -> float:
    """Return the seconds of an exchange of `each` bytes for each parameter, dense ones and experts' added up."""
    inside, total = hardware.inside_devices, 0.0
    if shard.dense:
        dense = groups.ring(grid.dp * grid.cp, grid.tp, inside)
        total += groups.seconds(kind, shard.dense * each, dense, hardware)
    if shard.expert:
        expert = groups.ring(grid.expert_dp, grid.tp * grid.ep, inside)
        total += groups.seconds(kind, shard.expert * each, expert, hardware)
    return total


def once_a_step(job: Job, stages: Sequence[Stage], hardware: Hardware) -> float:
    """Return the seconds spent waiting for gradients to be reduced and parameters gathered, on the slowest stage.

    With overlap, gradients pass beside the backward pass of the last microbatch, all but the last layer's; parameters
    beside the forward pass of the first one, all but the first layer's (Megatron-core's buckets).
    """
    layout, grid = job.config.parallelism, job.grid
    strategy = layout.data_parallel_sharding_strategy
    if strategy == "optim_grads_params":
        return 0.0
    worst = 0.0
    for stage in dict.fromkeys(stages):
        gradients = parameters = 0.0
        if layout.use_distributed_optimizer:
            parameters = exchange("all_gather", stage.shard, parameter_bytes(job.config), grid, hardware)
        if not strategy:
            kind = "reduce_scatter" if layout.use_distributed_optimizer else "all_reduce"
            gradients = exchange(kind, stage.shard, job.gradient_bytes, grid, hardware)
        waited = 0.0
        for taken, window, overlaps in (
            (gradients, stage.behind, layout.overlap_grad_reduce),
            (parameters, stage.forward, layout.overlap_param_gather),
        ):
            outside = taken / max(1, stage.layers) if overlaps else taken
            waited += outside + beside_work(taken - outside, window, hardware)
        worst = max(worst, waited)
    return worst


def each_microbatch(job: Job, times: Sequence[Rounds], hardware: Hardware) -> list[float]:
    """Return the seconds that each layer of a sharded model waits for its parameters and gradients (FSDP).

    A layer's parameters are gathered beside the layer before it, in both passes, and its gradients reduced beside the
    backward pass of the next one: what lasts longer than a layer's own pass is waited for.
    """
    strategy = job.config.parallelism.data_parallel_sharding_strategy
    if strategy is None:
        return [0.0] * len(times)
    size, known = parameter_bytes(job.config), {}
    for layer, clock in zip(job.layers, times, strict=True):
        key = (layer.parameters, id(clock))
        if key in known:
            continue
        gather = 0.0
        if strategy == "optim_grads_params":
            gather = exchange("all_gather", layer.parameters, size, job.grid, hardware)
        reduce = exchange("reduce_scatter", layer.parameters, job.gradient_bytes, job.grid, hardware)
        known[key] = beside_work(gather, clock.forward.total, hardware) + beside_work(
            gather + reduce, clock.behind, hardware
        )
    return [known[layer.parameters, id(clock)] for layer, clock in zip(job.layers, times, strict=True)]


def optimizer(job: Job, stages: Sequence[Stage], hardware: Hardware) -> float:
    """Return the seconds of the update on the fullest stage, by the bytes that it moves.

    Gradients are read for their norm and again for the update; the parameters' fp32 copies and the optimizer's states
    are read and written, and the parameters written.
    """
    layout, grid, config = job.config.parallelism, job.grid, job.config
    of_other, of_matrix = (
        2 * 4 + 2 * (bytes_per_parameter(algorithm(config), matrix) + 4) + parameter_bytes(config)
        for matrix in (False, True)
    )
    replicas = (grid.dp * grid.cp, grid.expert_dp) if layout.use_distributed_optimizer else (1, 1)
    most = 0.0
    for stage in dict.fromkeys(stages):
        moved = 0.0
        for parameters, matrices, ranks in zip(stage.shard, stage.matrices, replicas, strict=True):
            moved += (of_other * (parameters - matrices) + of_matrix * matrices) / ranks
        most = max(most, moved)
    return most / (hardware.memory_gb_per_s * hardware.rates.memory_share * 1e9)
