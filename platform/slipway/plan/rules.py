"""What several sections must agree on; each broken rule is one line with its arithmetic."""

from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.errors import UserError
from slipway.models import family


def check(config: RunConfig) -> None:
    """Raise UserError for the first rule a configuration breaks."""
    check_resources(config)
    _check_kind(config)
    check_layout(config)
    _check_overlap(config)
    _check_schedule(config)
    _check_steps(config)
    _check_best(config)
    _check_data(config)


def check_layout(config: RunConfig) -> None:
    """The rules that depend on the layout: raise UserError for the first one broken."""
    _check_world(config)
    _check_batch(config)
    _check_pipeline(config)
    _check_sharing(config)
    family(config).check(config)


def world_size(config: RunConfig) -> int:
    """Ranks of the run: one per device."""
    return config.resources.nodes * config.resources.devices_per_node


def _world(config: RunConfig) -> str:
    resources = config.resources
    return f"world size {world_size(config)} = {resources.nodes} nodes x {resources.devices_per_node} devices"


def check_resources(config: RunConfig) -> None:
    """Raise UserError where the cluster has fewer machines or devices."""
    cluster, resources = config.cluster, config.resources
    for name in ("nodes", "devices_per_node"):
        wanted, there = getattr(resources, name), getattr(cluster, name)
        if there is not None and wanted > there:
            raise UserError(f"resources.{name}: {wanted} is more than the {there} of cluster {cluster.name}")


def _check_world(config: RunConfig) -> None:
    layout, world = config.parallelism, world_size(config)
    tp, pp = layout.tensor_model_parallel_size, layout.pipeline_model_parallel_size
    cp, ep = layout.context_parallel_size, layout.expert_model_parallel_size
    if world % (tp * pp * cp):
        raise UserError(
            f"parallelism: {_world(config)} is not divisible by tensor {tp} x pipeline {pp} x context {cp} = "
            f"{tp * pp * cp}"
        )
    replicas = world // (tp * pp)
    if replicas % ep:
        raise UserError(
            f"parallelism.expert_model_parallel_size: context x data ranks {replicas} = world {world} / "
            f"(tensor {tp} x pipeline {pp}) is not divisible by expert {ep}"
        )
    if layout.sequence_parallel and tp == 1:
        raise UserError(
            "parallelism.sequence_parallel: true has no effect with tensor_model_parallel_size 1; "
            "set it to false or use tensor parallelism"
        )


def data_parallel_size(config: RunConfig) -> int:
    """Replicas of the model, each with samples of its own: world / (tp x pp x cp)."""
    layout = config.parallelism
    return world_size(config) // (
        layout.tensor_model_parallel_size * layout.pipeline_model_parallel_size * layout.context_parallel_size
    )


def num_microbatches(config: RunConfig) -> int:
    """Forward passes of each replica per step."""
    return config.training.global_batch_size // (
        config.training.micro_batch_size * data_parallel_size(config)
    )


def _check_batch(config: RunConfig) -> None:
    training, dp = config.training, data_parallel_size(config)
    samples = training.micro_batch_size * dp
    if training.global_batch_size % samples:
        raise UserError(
            f"training.global_batch_size: {training.global_batch_size} is not divisible by micro_batch_size "
            f"{training.micro_batch_size} x data parallel {dp} = {samples} ({_world(config)})"
        )


def _check_pipeline(config: RunConfig) -> None:
    layout = config.parallelism
    pp, vp = layout.pipeline_model_parallel_size, layout.virtual_stages
    if vp > 1 and pp == 1:
        raise UserError(
            f"parallelism.virtual_pipeline_model_parallel_size: {vp} needs pipeline_model_parallel_size > 1, "
            f"got {pp}"
        )
    family(config).spans(config, layout)
    if vp > 1 and num_microbatches(config) % pp:
        raise UserError(
            "parallelism.virtual_pipeline_model_parallel_size: the interleaved schedule needs microbatches "
            f"divisible by pipeline {pp}, got {num_microbatches(config)} = global_batch_size "
            f"{config.training.global_batch_size} / (micro_batch_size {config.training.micro_batch_size} x "
            f"data parallel {data_parallel_size(config)})"
        )


def _check_sharing(config: RunConfig) -> None:
    """What Megatron-core's FSDP cannot share out."""
    layout = config.parallelism
    strategy, pp = layout.data_parallel_sharding_strategy, layout.pipeline_model_parallel_size
    if strategy is None:
        return
    if pp > 1:
        raise UserError(
            f"parallelism.pipeline_model_parallel_size: {pp} does not go with data_parallel_sharding_strategy="
            f"{strategy} (Megatron-core's FSDP lays ranks out by tensor, context, expert and data only); allowed: 1"
        )
    dp, cp, ep = data_parallel_size(config), layout.context_parallel_size, layout.expert_model_parallel_size
    if dp * cp // ep == 1:  # gradients would double with every microbatch: Megatron-LM issue 6660
        whose = f" / expert {ep}" if ep > 1 else ""
        raise UserError(
            f"parallelism.data_parallel_sharding_strategy: {strategy} needs two ranks or more to share, got context "
            f"{cp} x data {dp}{whose} = 1 ({_world(config)}); allowed: null, or more devices"
        )


def _check_overlap(config: RunConfig) -> None:
    layout = config.parallelism
    strategy = layout.data_parallel_sharding_strategy
    if strategy:
        needs = ["use_distributed_optimizer", "overlap_grad_reduce"]
        needs += ["overlap_param_gather"] * (strategy == "optim_grads_params")
        for name in needs:
            if not getattr(layout, name):
                raise UserError(
                    f"parallelism.{name}: data_parallel_sharding_strategy={strategy} always does it; allowed: true"
                )
    if layout.overlap_param_gather and not layout.use_distributed_optimizer:
        raise UserError("parallelism.overlap_param_gather: true needs use_distributed_optimizer=true")
    if layout.overlap_param_gather and not layout.overlap_grad_reduce:
        raise UserError("parallelism.overlap_param_gather: true needs overlap_grad_reduce=true")


def _check_schedule(config: RunConfig) -> None:
    optimizer, steps = config.optimizer, config.training.steps
    if optimizer.min_lr > optimizer.lr:
        raise UserError(f"optimizer.min_lr: {optimizer.min_lr:g} is more than optimizer.lr {optimizer.lr:g}")
    if optimizer.lr_warmup_steps >= steps:
        raise UserError(
            f"optimizer.lr_warmup_steps: {optimizer.lr_warmup_steps} is not below training.steps {steps}"
        )
    decay = optimizer.lr_wsd_decay_steps
    if optimizer.lr_decay_style != "WSD":
        if decay is not None:
            raise UserError(
                f"optimizer.lr_wsd_decay_steps: {decay} has no effect with "
                f"lr_decay_style={optimizer.lr_decay_style}; set it to null or use lr_decay_style=WSD"
            )
        return
    if decay is None:
        raise UserError(
            "optimizer.lr_wsd_decay_steps: lr_decay_style=WSD needs it; give the steps of the last decay"
        )
    if optimizer.lr_warmup_steps + decay > steps:
        raise UserError(
            f"optimizer.lr_wsd_decay_steps: lr_warmup_steps {optimizer.lr_warmup_steps} + "
            f"lr_wsd_decay_steps {decay} = {optimizer.lr_warmup_steps + decay} is more than training.steps "
            f"{steps}"
        )


def _check_steps(config: RunConfig) -> None:
    stop, steps = config.training.stop_after_step, config.training.steps
    if stop is not None and stop > steps:
        raise UserError(f"training.stop_after_step: {stop} is more than training.steps {steps}")


def _check_best(config: RunConfig) -> None:
    """Only a checkpoint with a validation at its own step can be called the best."""
    saves, validations = config.checkpoint.interval, config.validation.interval
    if config.checkpoint.keep_best and (
        not config.validation.steps or not validations or not saves or saves % validations
    ):
        raise UserError(
            f"checkpoint.keep_best: {config.checkpoint.keep_best} needs a validation at each checkpoint, got "
            f"checkpoint.interval {saves}, validation.interval {validations}, validation.steps "
            f"{config.validation.steps}; allowed: checkpoint.interval a multiple of validation.interval"
        )


def _check_kind(config: RunConfig) -> None:
    """The family can read the kind of data: its own rules rely on it."""
    kinds = family(config).data_kinds
    if config.data.kind not in kinds:
        raise UserError(
            f"data.kind: {config.data.kind} cannot be read by model.family={config.model.family}; allowed: "
            f"{' or '.join(sorted(kinds))}"
        )


def _check_data(config: RunConfig) -> None:
    if not config.data.weights:
        raise UserError(
            f"data.sources: the weight of {', '.join(config.data.sources)} is 0, so there is nothing to train on; "
            "allowed: at least one weight above 0"
        )
    kind_of(config).check(config)
