"""Rules on which several sections must agree; each broken rule is one line with its arithmetic."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.data import kind_of
from slipway.errors import UserError
from slipway.kernels import fp8
from slipway.models import family, held_out
from slipway.optimizers import algorithm
from slipway.optimizers.kind import knows_matrices
from slipway.plan import schedule, switches, watching

# A language model is trained well on 20 tokens for each parameter (arXiv 2203.15556), the demo on two. Ten parameters
# for each token, the other way round, are no training, however many steps it has.
PARAMETERS_PER_DEMO_UNIT = 10


def check(config: RunConfig) -> None:
    """Raise UserError for the first rule a configuration breaks."""
    _check_demo_data(config)
    check_resources(config)
    fp8.check_device(config)
    _check_kind(config)
    check_choice(config)
    schedule.check(config)
    _check_best(config)
    _check_evaluation(config)
    _check_data(config)
    watching.check(config)


def check_choice(config: RunConfig) -> None:
    """Raise UserError for the first broken rule on what `parallelism=auto` chooses."""
    check_layout(config)
    _check_overlap(config)
    _check_recompute(config)
    _check_switches(config)


def check_layout(config: RunConfig) -> None:
    """Raise UserError for the first broken rule that depends on the layout."""
    _check_world(config)
    _check_batch(config)
    _check_pipeline(config)
    _check_sharing(config)
    _check_states(config)
    _check_matrices(config)
    family(config).check(config)


def world_size(config: RunConfig) -> int:
    """Return the number of ranks of the run: one per device."""
    return config.resources.nodes * config.resources.devices_per_node


def _world(config: RunConfig) -> str:
    resources = config.resources
    return f"world size {world_size(config)} = {resources.nodes} nodes x {resources.devices_per_node} devices"


def check_resources(config: RunConfig) -> None:
    """Raise UserError if the cluster has fewer nodes or devices than the run asks for."""
    cluster, resources = config.cluster, config.resources
    for name in ("nodes", "devices_per_node"):
        wanted, there = getattr(resources, name), getattr(cluster, name)
        if there is not None and wanted > there:
            raise UserError(
                f"resources.{name}",
                f"is more than the {there} of cluster {cluster.name}",
                use=f"at most {there}",
                value=wanted,
            )


def _check_world(config: RunConfig) -> None:
    layout, world = config.parallelism, world_size(config)
    tp, pp = layout.tensor_model_parallel_size, layout.pipeline_model_parallel_size
    cp, ep = layout.context_parallel_size, layout.expert_model_parallel_size
    if world % (tp * pp * cp):
        raise UserError(
            "parallelism",
            f"{_world(config)} is not divisible by tensor {tp} x pipeline {pp} x context {cp} = {tp * pp * cp}",
            do="change the layout or the number of devices, or set parallelism=auto",
        )
    replicas = world // (tp * pp)
    if replicas % ep:
        raise UserError(
            "parallelism.expert_model_parallel_size",
            f"does not divide the context x data ranks {replicas} = world {world} / (tensor {tp} x pipeline {pp})",
            value=ep,
            do=f"use a divisor of {replicas}",
        )
    if layout.sequence_parallel and tp == 1:
        raise UserError(
            "parallelism.sequence_parallel",
            "has no effect with tensor_model_parallel_size 1",
            value=True,
            do="set it to false or use tensor parallelism",
        )


def data_parallel_size(config: RunConfig) -> int:
    """Return the number of replicas of the model, each with samples of its own: world / (tp x pp x cp)."""
    layout = config.parallelism
    return world_size(config) // (
        layout.tensor_model_parallel_size * layout.pipeline_model_parallel_size * layout.context_parallel_size
    )


def num_microbatches(config: RunConfig) -> int:
    """Return the number of forward passes of each replica per step."""
    return config.training.global_batch_size // (
        config.training.micro_batch_size * data_parallel_size(config)
    )


def _check_batch(config: RunConfig) -> None:
    training, dp = config.training, data_parallel_size(config)
    samples = training.micro_batch_size * dp
    if training.global_batch_size % samples:
        raise UserError(
            "training.global_batch_size",
            f"is not divisible by micro_batch_size {training.micro_batch_size} x data parallel {dp} = {samples} "
            f"({_world(config)})",
            value=training.global_batch_size,
            do=f"use a multiple of {samples}",
        )


def _check_pipeline(config: RunConfig) -> None:
    layout = config.parallelism
    pp, vp = layout.pipeline_model_parallel_size, layout.virtual_stages
    if vp > 1 and pp == 1:
        raise UserError(
            "parallelism.virtual_pipeline_model_parallel_size",
            f"needs pipeline_model_parallel_size > 1, but it is {pp}",
            value=vp,
            do="set it to null, or use pipeline parallelism",
        )
    family(config).spans(config, layout)
    if vp > 1 and num_microbatches(config) % pp:
        raise UserError(
            "parallelism.virtual_pipeline_model_parallel_size",
            f"the interleaved schedule needs a number of microbatches divisible by pipeline {pp}, but there are "
            f"{num_microbatches(config)} = global_batch_size {config.training.global_batch_size} / "
            f"(micro_batch_size {config.training.micro_batch_size} x data parallel {data_parallel_size(config)})",
            do="change training.global_batch_size or training.micro_batch_size, or set it to null",
        )


def _check_sharing(config: RunConfig) -> None:
    """Raise UserError for a layout that Megatron-core's FSDP cannot share out."""
    layout = config.parallelism
    strategy, pp = layout.data_parallel_sharding_strategy, layout.pipeline_model_parallel_size
    if strategy is None:
        return
    if pp > 1:
        raise UserError(
            "parallelism.pipeline_model_parallel_size",
            f"does not work with data_parallel_sharding_strategy={strategy} (Megatron-core's FSDP arranges ranks "
            "by tensor, context, expert and data only)",
            value=pp,
            use="1",
        )
    dp, cp, ep = data_parallel_size(config), layout.context_parallel_size, layout.expert_model_parallel_size
    if dp * cp // ep == 1:  # gradients would double with every microbatch: Megatron-LM issue 6660
        whose = f" / expert {ep}" if ep > 1 else ""
        raise UserError(
            "parallelism.data_parallel_sharding_strategy",
            f"needs at least two data-parallel ranks, but this layout has context {cp} x data {dp}{whose} = 1 "
            f"({_world(config)})",
            value=strategy,
            use="null, or more devices",
        )


def _check_states(config: RunConfig) -> None:
    """Raise UserError if a parameter is cut of which the optimizer keeps one number for the whole."""
    numbers = [state.name for state in algorithm(config).states if state.shape == "scalar"]
    layout = config.parallelism
    cutting = {
        "tensor_model_parallel_size": (layout.tensor_model_parallel_size > 1, "1"),
        "expert_model_parallel_size": (layout.expert_model_parallel_size > 1, "1"),
        "data_parallel_sharding_strategy": (layout.data_parallel_sharding_strategy is not None, "null"),
        "use_distributed_optimizer": (layout.use_distributed_optimizer, "false"),
    }
    for name, (cuts, allowed) in cutting.items():
        if numbers and cuts:
            raise UserError(
                f"parallelism.{name}",
                f"splits parameters, but optimizer.name={config.optimizer.name} keeps one number per whole parameter "
                f"({', '.join(numbers)})",
                value=getattr(layout, name),
                use=allowed,
            )


def _check_matrices(config: RunConfig) -> None:
    """Raise UserError unless an optimizer of hidden matrices finds some, and each of them whole."""
    if not knows_matrices(algorithm(config)):
        return
    name, strategy = config.optimizer.name, config.parallelism.data_parallel_sharding_strategy
    if strategy is not None:
        raise UserError(
            "parallelism.data_parallel_sharding_strategy",
            f"does not work with optimizer.name={name}, which needs whole matrices: Slipway cannot reassemble "
            "what Megatron-core's FSDP splits",
            value=strategy,
            use="null, with parallelism.use_distributed_optimizer=true",
        )
    if not any(layer.matrices.total for layer in family(config).layers(config, Parallelism())):
        raise UserError(
            "optimizer.name",
            f"has no effect: model.family={config.model.family} declares no hidden matrices",
            value=name,
            use="adamw",
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
                    f"parallelism.{name}",
                    f"does not work: data_parallel_sharding_strategy={strategy} requires it",
                    value=False,
                    use="true",
                )
    if layout.overlap_param_gather and not layout.use_distributed_optimizer:
        raise UserError(
            "parallelism.overlap_param_gather",
            "needs use_distributed_optimizer=true",
            value=True,
            do="set that, or set it to false",
        )
    if layout.overlap_param_gather and not layout.overlap_grad_reduce:
        raise UserError(
            "parallelism.overlap_param_gather",
            "needs overlap_grad_reduce=true",
            value=True,
            do="set that, or set it to false",
        )


def _check_recompute(config: RunConfig) -> None:
    if config.training.recompute != "none" and not family(config).recomputed(config):
        raise UserError(
            "training.recompute",
            f"has no effect: model.family={config.model.family} does not recompute activations",
            value=config.training.recompute,
            use="none",
        )


def _check_switches(config: RunConfig) -> None:
    """Raise UserError unless each forced switch has an effect in this layout and trains correctly.

    Decided for the Megatron-core that is installed here.
    """
    switches.switches(config, switches.installed())


def _check_best(config: RunConfig) -> None:
    """Raise UserError unless each checkpoint has a validation at its own step: only then can one be called the best."""
    saves, validations = config.checkpoint.interval, config.validation.interval
    if config.checkpoint.keep_best and (
        not config.validation.steps or not validations or not saves or saves % validations
    ):
        raise UserError(
            "checkpoint.keep_best",
            f"needs a validation at each checkpoint, but checkpoint.interval is {saves}, validation.interval "
            f"{validations} and validation.steps {config.validation.steps}",
            value=config.checkpoint.keep_best,
            use="a checkpoint.interval that is a multiple of validation.interval",
        )


def _check_evaluation(config: RunConfig) -> None:
    """Raise UserError unless what is to be evaluated can be, and is."""
    asked, kind = config.evaluation, held_out.measured(config)
    if bool(asked.interval) != bool(asked.files):
        missing = ("interval", "files")[bool(asked.interval)]
        raise UserError(
            f"evaluation.{missing}",
            f"is missing, without which evaluation.{'files' if asked.files else 'interval'} has no effect",
            value=getattr(asked, missing),
            do="set both, or none",
        )
    if not asked.interval:
        return
    if kind is None:
        raise UserError(
            "evaluation.files",
            f"are text, which data.kind={config.data.kind} does not read",
            use="interval=0 and []",
        )
    try:
        kind.check_wanted(config, held_out.wanted(config))
    except UserError as error:
        raise error.replaced(path=f"evaluation.{error.path}") from None


def _check_kind(config: RunConfig) -> None:
    """Raise UserError unless the family can read the kind of data: its own rules rely on it."""
    kinds = family(config).data_kinds
    if config.data.kind not in kinds:
        raise UserError(
            "data.kind",
            f"cannot be read by model.family={config.model.family}",
            value=config.data.kind,
            use=f"{' or '.join(sorted(kinds))}",
        )


def _check_data(config: RunConfig) -> None:
    if not config.data.weights:
        raise UserError(
            "data.sources",
            f"the weight of {', '.join(config.data.sources)} is 0, so there is nothing to train on",
            use="at least one weight above 0",
        )
    kind_of(config).check(config)


def _check_demo_data(config: RunConfig) -> None:
    """Raise UserError if a large model would be trained by mistake on samples that only serve to try things."""
    data, kind = config.data, family(config)
    if data.demo_units is None or data.allow_large_models:
        return
    parameters = sum(layer.parameters.total for layer in kind.layers(config, Parallelism()))
    if parameters > PARAMETERS_PER_DEMO_UNIT * data.demo_units:
        raise UserError(
            "data",
            f"has about {data.demo_units:,} {kind.unit}s, too few for the {parameters:,} parameters of "
            f"{config.model.name}: {parameters / data.demo_units:,.0f} for each {kind.unit}, more than "
            f"{PARAMETERS_PER_DEMO_UNIT}",
            value=data.name,
            use="data=files",
            do="set data.allow_large_models=true to train on it anyway",
        )
