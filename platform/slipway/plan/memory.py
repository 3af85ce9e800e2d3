"""First-order memory of one rank of each pipeline stage, by part, in bytes."""

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from slipway.config.schema import RunConfig
from slipway.models import family as family_of
from slipway.models.family import Layer, Shard
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter
from slipway.plan import switches
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


class Share(NamedTuple):
    """How a model is shared out in a layout: its layers as one rank holds them, and those of each model chunk."""

    layers: list[Layer]
    spans: list[range]
    """In pipeline order: chunk v x stages + p is virtual stage v of stage p."""

    @classmethod
    def of(cls, config: RunConfig) -> "Share":
        """The share of the configured layout. Raises UserError where the layers cannot be shared out."""
        family, layout = family_of(config), config.parallelism
        return cls(family.layers(config, layout), family.spans(config, layout))

    def chunks(self, grid: Grid, stage: int) -> list[range]:
        """Layers of each model chunk of a pipeline stage."""
        return self.spans[stage :: grid.pp]

    def parameters(self, grid: Grid, stage: int) -> Shard:
        """Parameters that a rank of a stage holds."""
        return _sum(self.layers[number] for span in self.chunks(grid, stage) for number in span)


def _sum(layers: Iterable[Layer]) -> Shard:
    return sum((layer.parameters for layer in layers), Shard(0, 0))


def stage_memory(config: RunConfig, share: Share, grid: Grid, stage: int, microbatches: int) -> StageMemory:
    """Memory of one rank of a stage.

    Parameters in the training precision; gradients accumulated in fp32. The optimizer keeps its state in fp32 (AdamW:
    two moments), in bf16 also an fp32 copy of the parameters: with AdamW 8 or 12 bytes per parameter, divided over
    the replicas by the distributed optimizer. FSDP also divides gradients (ZeRO-2) and parameters (ZeRO-3), arXiv
    1910.02054, sections 3.1 and 5; it keeps the fp32 copy in fp32 too, and holds some of it whole for a while.
    Not counted: communication buffers, workspaces, the allocator's fragmentation, and the padding of buckets: at most
    2^16 of 4 x 10^7 elements or more, 0.2%.
    """
    dense, expert = share.parameters(grid, stage)
    bf16 = config.training.precision == "bf16"
    layout, state = config.parallelism, bytes_per_parameter(algorithm(config))
    strategy = layout.data_parallel_sharding_strategy
    whole, cut = dense + expert, -(-dense // (grid.dp * grid.cp)) + -(-expert // grid.expert_dp)
    return StageMemory(
        stage=stage,
        parameters=(2 if bf16 else 4) * (cut if strategy == "optim_grads_params" else whole),
        gradients=4 * (cut if strategy else whole),
        optimizer_states=(state + (4 if bf16 or strategy else 0))
        * (cut if layout.use_distributed_optimizer else whole),
        activations=_activations(config, share, grid, stage, microbatches),
        gathered=_gathered(config, share),
    )


def _gathered(config: RunConfig, share: Share) -> int:
    """What FSDP holds whole at most: gradients until they are reduced; what is outside of blocks, and blocks ahead."""
    strategy = config.parallelism.data_parallel_sharding_strategy
    if strategy is None:
        return 0
    whole = _sum(share.layers).total
    outside = _sum(layer for layer in share.layers if not layer.block).total
    largest = max((layer.parameters.total for layer in share.layers if layer.block), default=0)
    gradients = 4 * min(whole, WAITING_GRADIENTS)
    if strategy == "optim_grads":
        return gradients
    bytes_each = 2 if config.training.precision == "bf16" else 4
    return gradients + bytes_each * min(whole, outside + largest + GATHERED_AHEAD)


def _activations(config: RunConfig, share: Share, grid: Grid, stage: int, microbatches: int) -> int:
    """Activations of the microbatches in flight: each chunk's passes are as many as the others', or one more."""
    virtual = config.parallelism.virtual_stages
    passes = chunks_in_flight(grid.pp, virtual, microbatches, stage)
    keeps_sent = not switches.releases_outputs(config.parallelism, switches.installed())
    kept, here = 0, []
    for chunk, span in enumerate(share.chunks(grid, stage)):
        layers = share.layers[span.start : span.stop]
        in_flight = passes // virtual + (chunk < passes % virtual)
        sent = layers[-1].sent_bytes if keeps_sent and span is not share.spans[-1] else 0
        kept += in_flight * (sum(layer.kept_bytes for layer in layers) + sent)
        here += layers
    # What a block computes again for its backward pass exists once.
    inside = max(layer.inside_bytes for layer in here)
    return kept + inside + sum(layer.held_bytes for layer in here)
