"""First-order memory of one rank of each pipeline stage, by part, in bytes."""

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models import part
from slipway.models.counts import Shard
from slipway.plan.layout import Grid, chunks_in_flight

GIB = 2**30
WAITING_GRADIENTS = 10**9  # whole ones that Megatron-core's FSDP lets wait for their reduction
GATHERED_AHEAD = 10**9 // 2  # parameters that it gathers before they are needed


class StageMemory(BaseModel):
    """Bytes on each rank of one pipeline stage (the fullest rank, where they differ)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: int
    parameters: int
    gradients: int
    optimizer_states: int
    activations: int
    gathered: int = 0
    """Parameters and gradients that are sharded, but whole for a while (FSDP)."""

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.parameters + self.gradients + self.optimizer_states + self.activations + self.gathered


def device_bytes(config: RunConfig) -> int | None:
    """Memory of one device; None: the cluster profile does not say."""
    gib = config.cluster.device.memory_gib
    return None if gib is None else int(gib * GIB)


def chunk_shards(config: RunConfig, grid: Grid, stage: int) -> list[Shard]:
    """Parameters a rank of a stage holds, for each of its model chunks."""
    counts, virtual = part(config.model.family, "counts"), config.parallelism.virtual_stages
    layers = counts.num_layers(config.model) // (grid.pp * virtual)
    return [
        counts.stage_parameters(
            config.model,
            layers,
            first=stage == 0 and chunk == 0,
            last=stage == grid.pp - 1 and chunk == virtual - 1,
            tp=grid.tp,
            ep=grid.ep,
        )
        for chunk in range(virtual)
    ]


def stage_memory(config: RunConfig, grid: Grid, stage: int, microbatches: int) -> StageMemory:
    """Memory of one rank of a stage.

    Parameters in the training precision; gradients accumulated in fp32. AdamW keeps two fp32 moments, in bf16
    also an fp32 copy of the parameters: 8 or 12 bytes per parameter, divided over the replicas by the
    distributed optimizer. FSDP also divides gradients (ZeRO-2) and parameters (ZeRO-3), arXiv 1910.02054, sections
    3.1 and 5; it keeps the fp32 copy in fp32 too, and holds some of it whole for a while. Not counted:
    communication buffers, workspaces, the allocator's fragmentation.
    """
    shards = chunk_shards(config, grid, stage)
    dense, expert = sum(shard.dense for shard in shards), sum(shard.expert for shard in shards)
    bf16 = config.training.precision == "bf16"
    layout = config.parallelism
    strategy = layout.data_parallel_sharding_strategy
    whole, share = dense + expert, -(-dense // (grid.dp * grid.cp)) + -(-expert // grid.expert_dp)
    return StageMemory(
        stage=stage,
        parameters=(2 if bf16 else 4) * (share if strategy == "optim_grads_params" else whole),
        gradients=4 * (share if strategy else whole),
        optimizer_states=(12 if bf16 or strategy else 8)
        * (share if layout.use_distributed_optimizer else whole),
        activations=_activations(config, grid, stage, microbatches),
        gathered=_gathered(config, grid),
    )


def _gathered(config: RunConfig, grid: Grid) -> int:
    """What FSDP holds whole at most: gradients until they are reduced; what is outside layers, and layers ahead."""
    strategy = config.parallelism.data_parallel_sharding_strategy
    if strategy is None:
        return 0
    counts, model = part(config.model.family, "counts"), config.model
    whole, outside = (
        counts.stage_parameters(model, layers, first=True, last=True, tp=grid.tp, ep=grid.ep).total
        for layers in (counts.num_layers(model), 0)
    )
    layer = (whole - outside) // counts.num_layers(model)
    gradients = 4 * min(whole, WAITING_GRADIENTS)
    if strategy == "optim_grads":
        return gradients
    bytes_each = 2 if config.training.precision == "bf16" else 4
    return gradients + bytes_each * min(whole, outside + layer + GATHERED_AHEAD)


def _activations(config: RunConfig, grid: Grid, stage: int, microbatches: int) -> int:
    model, training, layout = config.model, config.training, config.parallelism
    counts, activations = part(model.family, "counts"), part(model.family, "activations")
    virtual = layout.virtual_stages
    layers = counts.num_layers(model) // (grid.pp * virtual)
    passes = chunks_in_flight(grid.pp, virtual, microbatches, stage)
    kept = passes * layers * activations.layer_bytes(model, training, layout)
    if training.recompute == "full":
        # While one layer runs backward its inside exists once.
        inside = training.model_copy(update={"recompute": "none"})
        kept += activations.layer_bytes(model, inside, layout)
    if stage == 0:
        kept += -(-passes // virtual) * activations.first_stage_bytes(model, training, layout)
    if stage == grid.pp - 1:
        kept += activations.last_stage_bytes(config)
    return kept
