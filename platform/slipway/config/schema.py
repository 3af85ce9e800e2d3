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
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._=,+-]*$",
        max_length=200,
        description="Name of the run, of letters, digits and ._=,+-",
    )
    dir: Folder = Field(description="Folder of the run, with plan.json, metrics.jsonl and checkpoints/.")
    time_limit_minutes: PositiveFloat | None = Field(
        default=None,
        description="Wall time of one segment in minutes, counted from the start of the command; the trainer "
        "stops in time to save. null: the launcher's limit (SLIPWAY_END_TIME, SLURM_JOB_END_TIME), or "
        "none.",
    )


class Resources(Section):
    """The machines: world size is nodes x devices_per_node."""

    nodes: PositiveInt = Field(default=1, description="Number of machines.")
    devices_per_node: PositiveInt = Field(
        default=1,
        description="Ranks on each node, one per device; null: all devices of the cluster's nodes, or 1 if their "
        "number is not known.",
    )
    elastic: bool = Field(
        default=False,
        description="Adapt parallelism.* to the devices that exist (under a launcher, to the ranks that it "
        "started), data-parallel size first; the global batch does not change.",
    )


class Training(Section):
    """The main loop."""

    steps: PositiveInt = Field(
        description="Optimizer steps of the whole run. Give exactly one of steps, samples and units; steps follow "
        "from the others, rounded up."
    )
    samples: PositiveInt | None = Field(
        default=None,
        description="Samples of the whole run, instead of steps; a repeated sample counts again.",
    )
    units: PositiveInt | None = Field(
        default=None,
        description="Units (tokens, patches...) of the whole run, instead of steps; also by their own name, such "
        "as training.tokens=300e9.",
    )
    stop_after_step: PositiveInt | None = Field(
        default=None,
        description="Save a checkpoint and stop after this step; the schedule does not change. null: do not stop "
        "early.",
    )
    global_batch_size: PositiveInt = Field(
        description="Samples per optimizer step over all ranks; null: 16, or one microbatch per replica if that "
        "is more."
    )
    micro_batch_size: PositiveInt = Field(description="Samples per forward pass of one model replica.")
    seed: NonNegativeInt = Field(
        default=1234, description="Seed of the initial weights, the order of the data and dropout."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Number format of parameters and activations."
    )
    fp8: Literal["hybrid", "e4m3"] | None = Field(
        default=None,
        description="Compute matrix products in FP8 with Transformer Engine, on GPUs of compute capability 8.9 or "
        "newer. e4m3: everywhere; hybrid: e5m2 for gradients; null: do not use FP8.",
    )
    fp8_recipe: Literal["delayed", "tensorwise", "blockwise", "mxfp8"] | None = Field(
        default=None,
        description="How FP8 scales are found. blockwise needs compute capability 9.0 or newer, mxfp8 10.0 to "
        "below 12.0; with delayed, a resumed run does not reproduce an uninterrupted one bit by bit. "
        "null: mxfp8 if it works, else tensorwise.",
    )
    recompute: Literal["none", "selective", "full"] = Field(
        default="none",
        description="Recompute activations in the backward pass, of some modules or of whole layers, to save "
        "memory.",
    )
    recompute_modules: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Modules of a GPT to recompute with recompute=selective: norm, activation, attention, mlp, "
        "experts; null: chosen by rule.",
    )
    manual_gc_interval: NonNegativeInt = Field(
        default=100,
        description="Steps between collections of Python's garbage, after the same steps on all ranks; 0: let "
        "Python collect, on each rank at another moment.",
    )


class Checkpoint(Section):
    """The times at which checkpoints are written into run.dir/checkpoints; one is always written at the end."""

    interval: NonNegativeInt = Field(description="Steps between checkpoints; 0: save only at the end.")
    keep_last: PositiveInt | None = Field(
        default=3, description="Number of newest checkpoints to keep after each save; null: all."
    )
    keep_every: PositiveInt | None = Field(
        default=None,
        description="Keep every checkpoint whose step is a multiple of this, besides keep_last; null: none.",
    )
    keep_best: NonNegativeInt = Field(
        default=0,
        description="Number of checkpoints to keep whose validation loss, at their own step, is the best; 0: none.",
    )
    async_save: bool = Field(
        default=True,
        description="Write checkpoints in the background from a copy in host memory, while training continues.",
    )
    timeout_minutes: PositiveFloat = Field(
        default=30.0,
        description="Minutes after which an unfinished save ends the run; earlier checkpoints are not touched.",
    )


class Kernels(Section):
    """The backend of each operator. null: the backend above, or another one if it cannot."""

    backend: Literal["auto", "te", "apex", "triton", "torch"] = Field(
        default="auto",
        description="Library to prefer; auto takes the best one that works on this machine, operator by operator.",
    )
    norm: Literal["te", "triton", "apex", "torch"] | None = Field(
        default=None, description="Backend of LayerNorm and RMSNorm; null: as kernels.backend says."
    )
    attention: Literal["te", "torch"] | None = Field(
        default=None, description="Backend of core attention, with context parallelism."
    )
    linear: Literal["te", "torch", "unfused"] | None = Field(
        default=None,
        description="Backend of linear layers with what follows them: bias, dropout and residual.",
    )
    activation: Literal["triton", "torch", "unfused"] | None = Field(
        default=None,
        description="Backend of SwiGLU between the linear layers, also in experts; GELU is never fused.",
    )
    product: Literal["onednn", "torch"] | None = Field(
        default=None, description="Backend of the products of linear layers and of logits in fp32 on CPUs."
    )
    rotary: Literal["te", "triton", "torch", "unfused"] | None = Field(
        default=None, description="Backend of the rotary position embedding."
    )
    cross_entropy: Literal["te", "torch", "unfused"] | None = Field(
        default=None,
        description="Backend of the vocabulary-parallel loss; torch fuses it with the output layer, chunk by "
        "chunk.",
    )
    grad_accumulation: Literal["apex", "torch"] | None = Field(
        default=None,
        description="Add weight gradients to the main gradient within the matrix product; torch does so for those "
        "in fp32.",
    )
    optimizer: Literal["te", "apex", "torch"] | None = Field(default=None, description="Backend of AdamW.")
    moe: Literal["te", "torch", "unfused"] | None = Field(
        default=None, description="Backend of the experts' products: grouped, or one after the other."
    )


class Parallelism(Section):
    """The layout. Ranks are ordered tp-cp-ep-dp-pp (tp fastest), as in Megatron-core."""

    tensor_model_parallel_size: PositiveInt = Field(default=1, description="Ranks that share each layer.")
    pipeline_model_parallel_size: PositiveInt = Field(
        default=1, description="Pipeline stages, among which the layers are distributed."
    )
    virtual_pipeline_model_parallel_size: PositiveInt | None = Field(
        default=None,
        description="Model chunks per pipeline rank (interleaved 1F1B schedule); null or 1: not interleaved.",
    )
    pipeline_layout: PipelineLayout | None = Field(
        default=None,
        description="Layers of each model chunk in pipeline order: [3,4,3] or, in Megatron-core's notation, "
        "Et*3|t*4|t*3L; null: as many in each, or balanced by cost, counting embedding and head.",
    )
    context_parallel_size: PositiveInt = Field(default=1, description="Ranks that share each sequence.")
    expert_model_parallel_size: PositiveInt = Field(
        default=1, description="Ranks among which the experts are distributed."
    )
    sequence_parallel: bool = Field(
        default=False, description="Split activations between the tensor-parallel regions along the sequence."
    )
    use_distributed_optimizer: bool = Field(
        default=False, description="Split the optimizer's states over the data-parallel ranks (ZeRO-1)."
    )
    data_parallel_sharding_strategy: Literal["optim_grads", "optim_grads_params"] | None = Field(
        default=None,
        description="Shard more with Megatron-core's FSDP: gradients (ZeRO-2), or gradients and parameters "
        "(ZeRO-3); null: only what use_distributed_optimizer shards.",
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
        description="Exchange activations between stages while they compute (interleaved schedule only); null: by "
        "rule.",
    )
    deallocate_pipeline_outputs: bool | None = Field(
        default=None,
        description="Free an activation once it is sent to the next stage; null: by rule.",
    )
    bucket_size: PositiveInt | None = Field(
        default=None,
        description="Approximate number of parameters whose gradients are reduced together (overlap_grad_reduce "
        "only; with pipeline stages, those of the first stage's first chunk); null: by rule.",
    )
    pad_buckets_for_high_nccl_busbw: bool | None = Field(
        default=None,
        description="Pad the buckets of gradients to sizes that NCCL sends at full speed (distributed optimizer only); "
        "null: by rule.",
    )
    moe_token_dispatcher_type: Literal["alltoall", "allgather", "flex"] | None = Field(
        default=None,
        description="How tokens reach their experts. alltoall sends each token only to the ranks of its experts, "
        "allgather sends every token to every rank, flex is alltoall with DeepEP's kernels; null: by "
        "rule.",
    )
    tp_comm_overlap: bool | None = Field(
        default=None,
        description="Overlap tensor-parallel communication with Transformer Engine's products (sequence "
        "parallelism only); null: by rule.",
    )
    cuda_graph_impl: Literal["none", "local"] | None = Field(
        default=None,
        description="local: record the kernels of each transformer layer in the first step and launch them "
        "together afterwards; null: by rule.",
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
        description="Dotted fields that are `auto`: the planner is to choose them and has not done so yet.",
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, plain: Any) -> Any:
        return fill(plain) if isinstance(plain, dict) else plain

    @property
    def last_step(self) -> int:
        """The step after which this segment ends."""
        return min(self.training.steps, self.training.stop_after_step or self.training.steps)
