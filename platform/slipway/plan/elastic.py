"""Fits a layout to the devices that exist: pure arithmetic, the same on every rank.

`parallelism.*` and `training.micro_batch_size` are a wish. If it fits the devices, and their memory if the cluster
profile knows it, it stays and the data-parallel size takes up the change. Else the nearest layout that uses all devices
is chosen. Near means changing what is costly to change as little as possible, the costliest first:

    expert, context, tensor, pipeline, virtual pipeline, micro-batch

each by the ratio of its sizes, at equal ratios the smaller one; a layout that fits the memory goes before one that does
not. Expert, context, virtual pipeline and micro-batch become divisors of what was wished; tensor and pipeline may also
grow. Tensor-parallel ranks stay on one node unless the wish says otherwise. Stages with more layers than others, if
they were not wished, come after all that share the layers evenly; parallelism.pipeline_layout goes with the stages that
it was made for. Model, global batch, steps and schedule never change.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.models import family
from slipway.plan import rules
from slipway.plan.layout import Grid
from slipway.plan.memory import GIB, Share, device_bytes, fullest

SWITCHES = (
    "sequence_parallel",
    "use_distributed_optimizer",
    "data_parallel_sharding_strategy",
    "overlap_grad_reduce",
    "overlap_param_gather",
)


class Layout(NamedTuple):
    """The sizes that fit() may change; the data-parallel size follows from the devices."""

    expert: int
    context: int
    tensor: int
    pipeline: int
    virtual: int
    micro_batch: int

    @classmethod
    def of(cls, config: RunConfig) -> "Layout":
        """Return the layout that the configuration wishes for."""
        sizes = config.parallelism
        return cls(
            expert=sizes.expert_model_parallel_size,
            context=sizes.context_parallel_size,
            tensor=sizes.tensor_model_parallel_size,
            pipeline=sizes.pipeline_model_parallel_size,
            virtual=sizes.virtual_stages,
            micro_batch=config.training.micro_batch_size,
        )


def fit(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """Return the configuration with a layout that uses all devices, and one line per field it changed.

    Raises UserError if there is none, with the nearest numbers of devices that have one, or if something is wrong that
    no layout can mend.
    """
    if not _objection(config):
        return config, []
    rules.check_resources(config)
    rules.check(_with_layout(on_machines(config, 1, 1), Layout(1, 1, 1, 1, 1, 1)))
    wish = Layout.of(config)
    larger_than_memory = None
    for layout in ranked(config):
        fitted = _with_layout(config, layout)
        if _breaks_a_rule(fitted):
            continue
        if not _lacks_memory(fitted):
            return fitted, _changes(config, wish, layout)
        larger_than_memory = larger_than_memory or layout
    if larger_than_memory is None:
        raise _no_layout(config)
    return _with_layout(config, larger_than_memory), _changes(config, wish, larger_than_memory)


def on_machines(config: RunConfig, nodes: int, devices_per_node: int) -> RunConfig:
    """Return the configuration for other machines, its layout unchanged."""
    there = {"nodes": nodes, "devices_per_node": devices_per_node}
    return config.model_copy(update={"resources": config.resources.model_copy(update=there)})


def ranked(config: RunConfig) -> list[Layout]:
    """Return the layouts that divide devices and global batch, and for whose stages the layers suffice.

    Those with as many layers on each stage and those with the wished stages come first, the nearest to the wish first.
    """
    wish = Layout.of(config)
    is_block = [layer.block for layer in family(config).layers(config, Parallelism())]
    uneven = cache(partial(_is_uneven, config, is_block))

    def distance(layout: Layout) -> tuple[bool | None, list[tuple[float, int]]]:
        stages = layout.pipeline, layout.virtual
        return (
            stages != (wish.pipeline, wish.virtual) and uneven(*stages),
            [(max(a, b) / min(a, b), a) for a, b in zip(layout, wish, strict=True)],
        )

    return sorted(_candidates(config, lambda *stages: uneven(*stages) is not None), key=distance)


def _candidates(config: RunConfig, shares: Callable[[int, int], bool]) -> Iterator[Layout]:
    wish, world = Layout.of(config), rules.world_size(config)
    node, batch = config.resources.devices_per_node, config.training.global_batch_size
    for tensor in _divisors(world):
        whole_groups_on_a_node = node % tensor == 0
        within_a_wide_wish = tensor <= wish.tensor and tensor % node == 0
        if not (tensor == wish.tensor or whole_groups_on_a_node or within_a_wide_wish):
            continue
        for pipeline in _divisors(world // tensor):
            virtuals = [n for n in range(1, wish.virtual + 1 if pipeline > 1 else 2) if shares(pipeline, n)]
            if not virtuals:
                continue
            for context in _common_divisors(world // tensor // pipeline, wish.context):
                data = world // (tensor * pipeline * context)
                if batch % data:
                    continue
                for expert in _common_divisors(context * data, wish.expert):
                    for micro_batch in _common_divisors(batch // data, wish.micro_batch):
                        for virtual in virtuals:
                            yield Layout(expert, context, tensor, pipeline, virtual, micro_batch)


def _is_uneven(config: RunConfig, is_block: Sequence[bool], pipeline: int, virtual: int) -> bool | None:
    """Return whether the model chunks differ in their number of layers; None if there are too few layers."""
    try:
        spans = family(config).spans(config, _with_stages(config.parallelism, pipeline, virtual))
    except UserError:
        return None
    return len({sum(is_block[span.start : span.stop]) for span in spans}) > 1


def _with_stages(wish: Parallelism, pipeline: int, virtual: int) -> Parallelism:
    """Return the layout with these stages; unless they are the wished ones, pipeline_layout is dropped."""
    changed: dict[str, Any] = {"pipeline_model_parallel_size": pipeline}
    if virtual != wish.virtual_stages:
        changed["virtual_pipeline_model_parallel_size"] = virtual if virtual > 1 else None
    if (pipeline, virtual) != (wish.pipeline_model_parallel_size, wish.virtual_stages):
        changed["pipeline_layout"] = None
    return wish.model_copy(update=changed)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _common_divisors(first: int, second: int) -> list[int]:
    return [n for n in range(1, min(first, second) + 1) if first % n == 0 and second % n == 0]


def _with_layout(config: RunConfig, layout: Layout) -> RunConfig:
    """Return the configuration with another layout.

    Sequence parallelism and sharding are kept only if they still have an effect.
    """
    sizes = _with_stages(config.parallelism, layout.pipeline, layout.virtual)
    sharing = rules.world_size(config) // (layout.tensor * layout.pipeline)  # context x data ranks
    changed: dict[str, Any] = {
        "expert_model_parallel_size": layout.expert,
        "context_parallel_size": layout.context,
        "tensor_model_parallel_size": layout.tensor,
        "sequence_parallel": sizes.sequence_parallel and layout.tensor > 1,
        "data_parallel_sharding_strategy": sizes.data_parallel_sharding_strategy if sharing > 1 else None,
    }
    training = config.training.model_copy(update={"micro_batch_size": layout.micro_batch})
    return config.model_copy(update={"parallelism": sizes.model_copy(update=changed), "training": training})


def _breaks_a_rule(config: RunConfig) -> str | None:
    """Return the first rule of layouts that the configuration breaks, in words; None if it breaks none."""
    try:
        rules.check_layout(config)
    except UserError as error:
        return error.finding
    return None


def _lacks_memory(config: RunConfig) -> str | None:
    """Return what a device lacks by the plan's estimate, in words; None if nothing, or if that is not known."""
    device = device_bytes(config)
    if device is None:
        return None
    grid = Grid.of(config.parallelism, rules.world_size(config))
    found = fullest(config, Share.of(config), grid, rules.num_microbatches(config))
    if found.total <= device:
        return None
    return (
        f"pipeline stage {found.stage} needs {found.total / GIB:.1f} GiB of a device's {device / GIB:.1f} GiB"
    )


def _objection(config: RunConfig) -> str | None:
    """Return why the layout cannot stay as it is, rules before memory; None if it can."""
    try:
        rules.check(config)
    except UserError as error:
        return error.finding
    return _lacks_memory(config)


def _changes(config: RunConfig, wish: Layout, layout: Layout) -> list[str]:
    """Return one line per changed field: what speaks against its wished value beside the other new ones."""
    fields = {
        "tensor": "parallelism.tensor_model_parallel_size",
        "pipeline": "parallelism.pipeline_model_parallel_size",
        "virtual": "parallelism.virtual_pipeline_model_parallel_size",
        "context": "parallelism.context_parallel_size",
        "expert": "parallelism.expert_model_parallel_size",
        "micro_batch": "training.micro_batch_size",
    }
    lines = []
    for name, field in fields.items():
        before, after = getattr(wish, name), getattr(layout, name)
        if before != after:
            reason = _objection(_with_layout(config, layout._replace(**{name: before})))
            reason = reason or _objection(config) or ""
            lines.append(f"{field} {before} -> {after}: {reason.removeprefix('parallelism: ')}")
    forced = config.parallelism.pipeline_layout
    if forced is not None and (wish.pipeline, wish.virtual) != (layout.pipeline, layout.virtual):
        lines.append(f"parallelism.pipeline_layout {forced} -> null: made for other stages")
    if config.parallelism.sequence_parallel and layout.tensor == 1:
        lines.append("parallelism.sequence_parallel true -> false: no effect with tensor 1")
    strategy = config.parallelism.data_parallel_sharding_strategy
    if strategy and rules.world_size(config) == layout.tensor * layout.pipeline:
        lines.append(
            f"parallelism.data_parallel_sharding_strategy {strategy} -> null: no effect with one replica"
        )
    return lines


def _no_layout(config: RunConfig) -> UserError:
    world, batch = rules.world_size(config), config.training.global_batch_size
    resources = config.resources
    blocks = sum(layer.block for layer in family(config).layers(config, config.parallelism))
    replicas = _common_divisors(world, batch)
    data = " or ".join(map(str, replicas))
    rest = " or ".join(str(world // n) for n in reversed(replicas))
    nearest = ranked(config)
    why = _breaks_a_rule(_with_layout(config, nearest[0])) if nearest else f"the model has {blocks} layers"
    near = [str(n) for n in (_next_fitting(config, step) for step in (-1, 1)) if n]
    return UserError(
        "resources",
        f"no layout uses all {world} devices (nodes {resources.nodes} x devices_per_node "
        f"{resources.devices_per_node}): the data-parallel size must divide them and training.global_batch_size "
        f"{batch}: {data}; so tensor x pipeline x context would be {rest}, which model and nodes do not allow "
        f"({why})" + ("" if near else "; no number of devices near it works either"),
        use=f"{' or '.join(near)} devices" if near else "",
    )


def _next_fitting(config: RunConfig, step: int) -> int | None:
    """Return the next number of devices that has a layout, at most twice as many; None if there is none.

    step: 1 upwards, -1 downwards. If the run has several nodes, these are whole nodes first.
    """
    cluster, resources = config.cluster, config.resources
    nodes, node = resources.nodes, resources.devices_per_node
    if nodes == 1:
        limit = min(2 * node, cluster.devices_per_node or 2 * node)
        shapes = [(1, n) for n in (range(node - 1, 0, -1) if step < 0 else range(node + 1, limit + 1))]
    elif step > 0:
        limit = min(2 * nodes, cluster.nodes or 2 * nodes)
        shapes = [(n, node) for n in range(nodes + 1, limit + 1)]
    else:
        shapes = [(n, node) for n in range(nodes - 1, 0, -1)] + [(1, n) for n in range(node - 1, 0, -1)]
    for shape in shapes:
        there = on_machines(config, *shape)
        if any(not _breaks_a_rule(_with_layout(there, layout)) for layout in ranked(there)):
            return shape[0] * shape[1]
    return None
