"""Switches of Megatron-core that decide speed or memory, never a result: each is set by a rule. Imports no torch.

A field of `parallelism` or `training` that is not null forces its switch. docs/megatron.md has the rules as a table.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from slipway.config.schema import Parallelism, RunConfig
from slipway.errors import UserError
from slipway.kernels.probe import Machine
from slipway.models import family
from slipway.plan import conflicts
from slipway.plan.layout import Grid

BOTH_FROM = (0, 19)
"""The first version of Megatron-core whose gradients are right with overlapped exchange and released outputs."""

BUCKET, BUCKET_OF_REPLICA = 40_000_000, 1_000_000
"""Megatron-core's sizes of buckets (DistributedDataParallel): the least, and what each data-parallel rank adds."""


class Switch(NamedTuple):
    """A line of the list that a run prints and keeps.

    name: Megatron-core's, and the field that forces it.
    """

    name: str
    value: bool | int | str
    why: str


@cache
def installed() -> tuple[int, int] | None:
    """Return the major and minor version of the installed Megatron-core; None if it is not installed."""
    try:
        major, minor = version("megatron-core").split(".")[:2]
    except PackageNotFoundError:
        return None
    return int(major), int(minor)


def switches(
    config: RunConfig, megatron: tuple[int, int] | None, machine: Machine | None = None
) -> list[Switch]:
    """Return the switches that have an effect in this layout, each with its value and the reason.

    megatron: the version of Megatron-core that will train; None: not known, assumed to be the newest. machine: the one
    that trains; None: not known yet, so that nothing is chosen that only some have, and nothing refused that others
    lack. Raises UserError for a forced switch that has no effect here, cannot work, or would give wrong gradients.
    """
    layout = config.parallelism
    interleaved, pipeline = layout.virtual_stages > 1, layout.pipeline_model_parallel_size > 1
    chosen: list[Switch] = []

    def choose(
        name: str,
        matters: bool,
        value: bool | int | str,
        why: str,
        needs: str,
        troubles: Mapping[bool | int | str, str | None] = {},
    ) -> Any:
        """Choose a switch and return its value; False if it does not matter here.

        troubles: why a value could not be used; None, or missing, if it can be.
        """
        forced = getattr(layout, name)
        if not matters:
            if forced is not None:
                raise UserError(
                    f"parallelism.{name}", f"has no effect without {needs}", value=forced, use="null"
                )
            return False
        if forced is not None:
            if trouble := troubles.get(forced):
                raise UserError(f"parallelism.{name}", trouble, value=forced, use="null")
            value, why = forced, f"parallelism.{name}={str(forced).lower()}"
        chosen.append(Switch(name, value, why))
        return value

    overlaps = choose(
        "overlap_p2p_comm",
        interleaved,
        True,
        "interleaved stages can compute while they exchange",
        "virtual_pipeline_model_parallel_size",
    )
    wrong = overlaps and megatron is not None and megatron < BOTH_FROM
    releases = choose(
        "deallocate_pipeline_outputs",
        pipeline,
        not wrong,
        f"with overlap_p2p_comm gradients are wrong before Megatron-core {_text(BOTH_FROM)}"
        if wrong
        else "a stage does not read again what it has sent",
        "pipeline stages",
    )
    if wrong and releases and megatron:
        raise UserError(
            "parallelism.deallocate_pipeline_outputs",
            f"gives wrong gradients together with overlap_p2p_comm in Megatron-core {_text(megatron)} (fixed in "
            f"{_text(BOTH_FROM)})",
            value=True,
            use="null",
            do="set overlap_p2p_comm=false",
        )
    resources = config.resources
    replicas = Grid.of(layout, resources.nodes * resources.devices_per_node).dp
    choose(
        "bucket_size",
        layout.overlap_grad_reduce,
        max(BUCKET, BUCKET_OF_REPLICA * replicas),
        f"parameters: {BUCKET:,}, or {BUCKET_OF_REPLICA:,} for each of {replicas} replicas, so that each one's part is "
        "worth sending",
        "overlap_grad_reduce: all gradients are reduced at once",
    )
    cuda = config.cluster.device.kind == "cuda"
    choose(
        "pad_buckets_for_high_nccl_busbw",
        layout.use_distributed_optimizer and not layout.data_parallel_sharding_strategy,
        cuda,
        "NCCL is faster with multiples of 2^16 elements" if cuda else "gloo gains nothing from it",
        "use_distributed_optimizer, or with data_parallel_sharding_strategy",
    )
    flex, operators = conflicts.of_flex(config, machine), family(config).operators
    choose(
        "moe_token_dispatcher_type",
        any(layer.parameters.expert for layer in family(config).layers(config, Parallelism())),
        *_dispatcher(config, machine, flex),
        "experts",
        {"flex": flex},
    )
    # the kind of linear layers is known only with the machine, unless the run names it
    linear = config.kernels.linear or ("te" if config.kernels.backend in ("auto", "te") else "torch")
    sequence_parallel = layout.tensor_model_parallel_size > 1 and layout.sequence_parallel
    named = config.kernels.linear is not None or layout.tp_comm_overlap is not None
    choose(
        "tp_comm_overlap",
        cuda and sequence_parallel and "linear" in operators and linear == "te" and named,
        False,
        "off, as in Megatron-LM: it needs GPUs that map each other's memory",
        "GPUs, sequence_parallel and Transformer Engine's linear layers (kernels.linear=te)",
        {True: conflicts.of_tensor_overlap(config)},
    )
    choose(
        "cuda_graph_impl",
        cuda and "attention" in operators,
        "none",
        "off, as in Megatron-LM: not tried on a GPU",
        "GPUs and transformer layers",
        {"local": conflicts.of_graphs(config)},
    )
    if config.training.recompute == "selective":
        forced = config.training.recompute_modules
        value = ", ".join(family(config).recomputed(config))
        why = (
            "memory without a matrix product computed again"
            if forced is None
            else "training.recompute_modules"
        )
        chosen.append(Switch("recompute_modules", value, why))
    return chosen


def releases_outputs(layout: Parallelism, megatron: tuple[int, int] | None) -> bool:
    """Return whether a stage releases what it has sent; see switches, which refuses what is wrong."""
    if layout.deallocate_pipeline_outputs is not None:
        return layout.deallocate_pipeline_outputs
    overlaps = layout.virtual_stages > 1 and layout.overlap_p2p_comm is not False
    return not overlaps or megatron is None or megatron >= BOTH_FROM


def _dispatcher(config: RunConfig, machine: Machine | None, trouble: str | None) -> tuple[str, str]:
    """Return the token dispatcher if none is asked for, and why.

    trouble: why DeepEP cannot be used.
    """
    ranks, here = conflicts.expert_ranks(config), config.resources.devices_per_node
    known = machine is not None and trouble is None and ranks in conflicts.DEEP_EP_RANKS
    if known and ranks > here:
        return (
            "flex",
            f"experts are on several nodes (tensor x expert = {ranks}, {here} devices in a node), and DeepEP is here",
        )
    return "alltoall", "each token goes to the ranks of its experts alone"


def values(config: RunConfig) -> dict[str, Any]:
    """Return name -> value of the switches that have an effect with the installed Megatron-core."""
    return {switch.name: switch.value for switch in switches(config, installed())}


def in_words(chosen: list[Switch]) -> list[str]:
    """Return one line for each switch."""
    return [f"{name}: {str(value).lower()} ({why})" for name, value, why in chosen]


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
