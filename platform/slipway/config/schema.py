"""RunConfig: the user's request. Frozen, closed, every field with its unit.

Only what concerns one field, or one section, is checked here; what needs several sections (layout against world,
heads against TP) is checked by slipway.plan.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from slipway.config.automatic import known
from slipway.config.cluster import Cluster
from slipway.config.derived import fill
from slipway.config.evaluation import Evaluation, Validation
from slipway.config.launch import Launch
from slipway.config.logging import Logging
from slipway.config.pipeline_layout import PipelineLayout
from slipway.config.section import DataSection, Folder, ModelSection, OptimizerSection, Section
from slipway.config.watch import Guard, Watch
from slipway.registry import DATA_KINDS, FAMILIES, OPTIMIZERS, validator

# Unions by a tag: the package that the tag names defines the section's fields.
Model = SerializeAsAny[Annotated[ModelSection, PlainValidator(validator(FAMILIES))]]
Data = SerializeAsAny[Annotated[DataSection, PlainValidator(validator(DATA_KINDS))]]
Optimizer = SerializeAsAny[Annotated[OptimizerSection, PlainValidator(validator(OPTIMIZERS))]]


AutoField = Annotated[str, AfterValidator(known)]


class Run(Section):
    """The identity of the run, which survives the chain of jobs."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._=,+-]*$", max_length=200, description="Letters, digits and ._=,+-"
    )
    dir: Folder = Field(description="Holds plan.json, metrics.jsonl and checkpoints/.")
    time_limit_minutes: PositiveFloat | None = Field(
        default=None,
        description="Wall time of one segment, from the command on; the trainer stops in time to save. null: as "
        "the launcher says (SLIPWAY_END_TIME, SLURM_JOB_END_TIME), else none.",
    )


class Resources(Section):
    """The machines: world size is nodes x devices_per_node."""

    nodes: PositiveInt = Field(default=1, description="Machines.")
    devices_per_node: PositiveInt = Field(
        default=1,
        description="Ranks per node, one per device; null: all that the cluster's nodes have, else 1.",
    )
    elastic: bool = Field(
        default=False,
        description="Take parallelism.* as a wish and fit it to the devices that are there (under a launcher: the "
        "ranks it started), data-parallel size first; the global batch stays.",
    )


class Training(Section):
    """The main loop."""

    steps: PositiveInt = Field(
        description="Optimizer steps of the whole run. Exactly one of steps, samples and units is given; steps follow "
        "from the others, rounded up."
    )
    samples: PositiveInt | None = Field(
        default=None, description="Samples of the whole run, repeated ones counted again; instead of steps."
    )
    units: PositiveInt | None = Field(
        default=None,
        description="Units (tokens, patches...) of the whole run, also by their name: training.tokens=300e9; instead "
        "of steps.",
    )
    stop_after_step: PositiveInt | None = Field(
        default=None,
        description="End this segment early: checkpoint after this step and stop; the schedule stays.",
    )
    global_batch_size: PositiveInt = Field(
        description="Samples per optimizer step, over all ranks; null: 16, or a microbatch per replica if more."
    )
    micro_batch_size: PositiveInt = Field(description="Samples per forward pass of one model replica.")
    seed: NonNegativeInt = Field(
        default=1234, description="Of the initial weights, the data order and dropout."
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="Of parameters and activations.")
    fp8: Literal["hybrid", "e4m3"] | None = Field(
        default=None,
        description="Matrix products in FP8, by Transformer Engine on GPUs from compute capability 8.9 on. e4m3: "
        "everywhere; hybrid: e5m2 for gradients.",
    )
    fp8_recipe: Literal["delayed", "tensorwise", "blockwise", "mxfp8"] | None = Field(
        default=None,
        description="How FP8 scales are found. blockwise: on GPUs from compute capability 9.0 on; mxfp8: from 10.0 to "
        "below 12.0; delayed: a continued run is not the uninterrupted one bit by bit. null: mxfp8 where it works, "
        "else tensorwise.",
    )
    recompute: Literal["none", "selective", "full"] = Field(
        default="none",
        description="Activations computed again in the backward pass: of some modules, or of whole layers.",
    )
    recompute_modules: list[str] | None = Field(
        default=None,
        min_length=1,
        description="For recompute=selective, of a GPT: norm, activation, attention, mlp, experts; null: by rule.",
    )
    manual_gc_interval: NonNegativeInt = Field(
        default=100,
        description="Steps between collections of Python's garbage, after the same steps on all ranks; 0: Python "
        "collects whenever it likes, on each rank at another moment.",
    )


class Checkpoint(Section):
    """The times at which checkpoints are written into run.dir/checkpoints; one is always written at the end."""

    interval: NonNegativeInt = Field(description="Steps between checkpoints; 0: only at the end.")
    keep_last: PositiveInt | None = Field(
        default=3, description="Newest checkpoints that stay, applied after each save; null: all."
    )
    keep_every: PositiveInt | None = Field(
        default=None,
        description="Steps: checkpoints of a multiple stay for good, besides keep_last; null: none.",
    )
    keep_best: NonNegativeInt = Field(
        default=0,
        description="Checkpoints with the lowest validation loss, measured at their own step, that stay; 0: none.",
    )
    async_save: bool = Field(
        default=True, description="Training goes on while a copy in host memory is written."
    )
    timeout_minutes: PositiveFloat = Field(
        default=30.0, description="A save that takes longer ends the run; earlier checkpoints stay."
    )


class Kernels(Section):
    """The backend of each operator. null: the backend above, or another one if it cannot."""

    backend: Literal["auto", "te", "apex", "triton", "torch"] = Field(
        default="auto", description="auto: the best that this machine has, operator by operator."
    )
    norm: Literal["te", "triton", "apex", "torch"] | None = Field(
        default=None, description="LayerNorm, RMSNorm."
    )
    attention: Literal["te", "torch"] | None = Field(
        default=None, description="Core attention, with context parallelism."
    )
    linear: Literal["te", "torch", "unfused"] | None = Field(
        default=None,
        description="Linear layers with what follows: bias, dropout and residual.",
    )
    activation: Literal["triton", "torch", "unfused"] | None = Field(
        default=None, description="SwiGLU between the linear layers, of experts too; GELU is always unfused."
    )
    product: Literal["onednn", "torch"] | None = Field(
        default=None, description="Products of linear layers and of logits in fp32 on CPUs."
    )
    rotary: Literal["te", "triton", "torch", "unfused"] | None = Field(
        default=None, description="Rotary position embedding."
    )
    cross_entropy: Literal["te", "torch", "unfused"] | None = Field(
        default=None, description="Vocabulary-parallel; torch: fused with the output layer, chunk by chunk."
    )
    grad_accumulation: Literal["apex", "torch"] | None = Field(
        default=None,
        description="Weight gradients added to the main gradient by the matrix product; torch: those in fp32.",
    )
    optimizer: Literal["te", "apex", "torch"] | None = Field(default=None, description="AdamW.")
    moe: Literal["te", "torch", "unfused"] | None = Field(
        default=None, description="Products of the experts: grouped, or one after the other."
    )


class Parallelism(Section):
    """The layout. Ranks are ordered tp-cp-ep-dp-pp (tp fastest), as in Megatron-core."""

    tensor_model_parallel_size: PositiveInt = Field(default=1, description="Ranks that share each layer.")
    pipeline_model_parallel_size: PositiveInt = Field(
        default=1, description="Ranks that share the layers out."
    )
    virtual_pipeline_model_parallel_size: PositiveInt | None = Field(
        default=None,
        description="Model chunks per pipeline rank (interleaved 1F1B schedule); null or 1: not interleaved.",
    )
    pipeline_layout: PipelineLayout | None = Field(
        default=None,
        description="Layers of each model chunk, in pipeline order: [3,4,3] or, as Megatron-core writes it, "
        "Et*3|t*4|t*3L; null: as many in each, else by cost, embedding and head counted in.",
    )
    context_parallel_size: PositiveInt = Field(default=1, description="Ranks that share each sequence.")
    expert_model_parallel_size: PositiveInt = Field(
        default=1, description="Ranks that share the experts out."
    )
    sequence_parallel: bool = Field(
        default=False, description="Split what lies between the tensor-parallel regions along the sequence."
    )
    use_distributed_optimizer: bool = Field(
        default=False, description="Split the optimizer's states over the data-parallel ranks (ZeRO-1)."
    )
    data_parallel_sharding_strategy: Literal["optim_grads", "optim_grads_params"] | None = Field(
        default=None,
        description="Split more, by Megatron-core's FSDP: gradients (ZeRO-2), or gradients and parameters (ZeRO-3); "
        "null: as use_distributed_optimizer says.",
    )
    overlap_grad_reduce: bool = Field(
        default=False, description="Reduce gradients while the backward pass runs."
    )
    overlap_param_gather: bool = Field(
        default=False,
        description="Gather parameters while the forward pass runs (distributed optimizer only).",
    )
    overlap_p2p_comm: bool | None = Field(
        default=None,
        description="Exchange what stages hand over while they compute (interleaved schedule only); null: by rule.",
    )
    deallocate_pipeline_outputs: bool | None = Field(
        default=None,
        description="Release what a stage has sent to the next one; null: by rule.",
    )
    bucket_size: PositiveInt | None = Field(
        default=None,
        description="Parameters whose gradients are reduced together, about (overlap_grad_reduce only; with pipeline "
        "stages those of the first one's first chunk); null: by rule.",
    )
    pad_buckets_for_high_nccl_busbw: bool | None = Field(
        default=None,
        description="Pad the buckets of gradients to sizes that NCCL sends at full speed (distributed optimizer only); "
        "null: by rule.",
    )
    moe_token_dispatcher_type: Literal["alltoall", "allgather", "flex"] | None = Field(
        default=None,
        description="How tokens reach their experts: alltoall sends each token to its experts' ranks alone, allgather "
        "sends every token to every rank, flex is alltoall by DeepEP's kernels; null: by rule.",
    )
    tp_comm_overlap: bool | None = Field(
        default=None,
        description="Send what tensor-parallel ranks exchange while Transformer Engine's products run (sequence "
        "parallelism only); null: by rule.",
    )
    cuda_graph_impl: Literal["none", "local"] | None = Field(
        default=None,
        description="local: the kernels of each transformer layer are recorded in the first step and launched at once "
        "from then on; null: by rule.",
    )

    @property
    def virtual_stages(self) -> int:
        """Model chunks per pipeline rank; 1 if the schedule is not interleaved."""
        return self.virtual_pipeline_model_parallel_size or 1


class RunConfig(Section):
    """The description of a whole run, composed by Hydra from conf/."""

    run: Run
    resources: Resources
    model: Model
    data: Data
    training: Training
    validation: Validation
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint
    watch: Watch
    guard: Guard
    kernels: Kernels
    parallelism: Parallelism
    optimizer: Optimizer
    logging: Logging
    cluster: Cluster
    launch: Launch = Launch()
    auto: list[AutoField] = Field(
        default=[],
        description="Dotted fields that are `auto`: left to the planner, which has not chosen yet.",
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, plain: Any) -> Any:
        return fill(plain) if isinstance(plain, dict) else plain

    @property
    def last_step(self) -> int:
        """The step after which this segment ends."""
        return min(self.training.steps, self.training.stop_after_step or self.training.steps)
