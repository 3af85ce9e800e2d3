"""The sizes to measure, and the plan of each. Pure.

A size that does not divide is refused here, before anything runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.bench.options import configuration
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch.placement import scheduler_of
from slipway.plan import Plan, make_plan

DEFAULTS = [
    "model.num_layers=4",
    "model.hidden_size=256",
    "model.num_attention_heads=4",
    "training.global_batch_size=4",
    "training.micro_batch_size=1",
    "resources.devices_per_node=2",
    "parallelism.use_distributed_optimizer=true",
]
"""A small model on two CPU ranks, if no model, machine or experiment is asked for."""
JOB_MINUTES = 30
"""Wall time of a job, unless launch.time_limit says otherwise."""

FOLDER = Path("measurement")
"""Stands for the folder of a measurement until it has one."""

STRONG, WEAK = "strong", "weak"
SCALINGS = (STRONG, WEAK)
_MEANINGLESS = {
    "run.dir": "every measurement has a folder of its own below --out",
    "launch.chain": "a measurement is one job, and no other continues it",
}


@dataclass(frozen=True)
class Size:
    """The machines of one measurement."""

    nodes: int
    devices_per_node: int

    @property
    def devices(self) -> int:
        """Number of ranks."""
        return self.nodes * self.devices_per_node


@dataclass(frozen=True, eq=False)
class Point:
    """One thing to measure; it may belong to both scalings, as the smallest size does."""

    scalings: tuple[str, ...]
    size: Size
    plan: Plan


@dataclass(frozen=True)
class Asked:
    """The request of the command line."""

    overrides: Sequence[str]
    ranks: Sequence[int] | None = None
    nodes: Sequence[int] | None = None
    scalings: Sequence[str] = SCALINGS


def composed(asked: Asked, *more: str) -> RunConfig:
    """Return the configuration that is asked for, with more overrides.

    Raises UserError, also for a field that has no effect on a measurement.
    """
    chosen = {word.partition("=")[0].lstrip("+") for word in asked.overrides}
    for name in chosen & _MEANINGLESS.keys():
        raise UserError(name, f"has no effect on a measurement: {_MEANINGLESS[name]}", do="omit it")
    defaults = [] if chosen & {"model", "cluster", "experiment"} else DEFAULTS
    return configuration(defaults, ["launch.chain=1", *asked.overrides, *more], FOLDER)


def sizes(asked: Asked, config: RunConfig) -> list[Size]:
    """Return the sizes, the smallest first; without any given: from the model's own devices up to resources.*.

    Raises UserError if there are fewer than two, or if ranks fill no whole nodes.
    """
    each, nodes = config.resources.devices_per_node, config.resources.nodes
    if asked.ranks is not None and asked.nodes is not None:
        raise UserError("bench scaling --ranks", "cannot be combined with --nodes", use="one of them")
    if asked.ranks is not None:
        here = scheduler_of(config.cluster) == "local"  # all of them on this machine
        found = [Size(1, ranks) if here else _of_ranks(ranks, each) for ranks in asked.ranks]
    elif asked.nodes is not None:
        found = [Size(count, each) for count in asked.nodes]
    else:
        layout = config.parallelism
        least = (
            layout.tensor_model_parallel_size
            * layout.pipeline_model_parallel_size
            * layout.context_parallel_size
        )
        if nodes > 1:
            found = [Size(count, each) for count in _doubling(-(-least // each), nodes)]
        else:
            found = [Size(1, ranks) for ranks in _doubling(least, each)]
    if len(found) < 2:
        given = ", ".join(f"{size.nodes} nodes x {size.devices_per_node} devices" for size in found)
        raise UserError(
            "bench scaling",
            f"{given or 'no size'} (resources.nodes {nodes}, devices_per_node {each}): one size cannot show scaling",
            use="--ranks 1,2,4 or --nodes 1,2,4",
        )
    return found


def points(asked: Asked) -> list[Point]:
    """Return what is to be measured, each thing once: strong scaling first, the smallest size first.

    Strong scaling keeps the global batch. Weak scaling begins with the same at the smallest size and multiplies it as
    the devices; both keep tensor, pipeline, context and expert parallelism as configured, so that data parallelism
    takes what the devices grow by. Raises UserError, with the arithmetic, for the first plan that cannot be made.
    """
    for name in asked.scalings:
        if name not in SCALINGS:
            raise UserError(
                "bench scaling --scaling", "is not a kind of scaling", value=name, use=",".join(SCALINGS)
            )
    config = composed(asked)
    every = sizes(asked, config)
    limited = config.launch.time_limit is not None or scheduler_of(config.cluster) == "local"
    limit = [] if limited else [f"launch.time_limit={JOB_MINUTES}"]
    batch, smallest = config.training.global_batch_size, every[0]
    found: dict[tuple[Size, int], list[str]] = {}
    for scaling in SCALINGS:
        for size in every if scaling in asked.scalings else ():
            grown = batch * size.devices if scaling == WEAK else batch * smallest.devices
            samples, rest = divmod(grown, smallest.devices)
            if rest:
                raise UserError(
                    "training.global_batch_size",
                    f"{batch} x {size.devices} devices / {smallest.devices} = {grown / smallest.devices:g} samples for "
                    "weak scaling are not a whole number",
                    do="choose another batch, or other sizes",
                )
            found.setdefault((size, samples), []).append(scaling)
    return [
        Point(tuple(scalings), size, _plan(asked, size, samples, scalings[0], limit))
        for (size, samples), scalings in found.items()
    ]


def _plan(asked: Asked, size: Size, samples: int, scaling: str, more: Sequence[str]) -> Plan:
    words = [
        *more,
        f"resources.nodes={size.nodes}",
        f"resources.devices_per_node={size.devices_per_node}",
        f"training.global_batch_size={samples}",
    ]
    try:
        return make_plan(composed(asked, *words))
    except UserError as error:
        where = f"{scaling} scaling on {size.devices} devices"
        raise error.replaced(problem=f"{error.problem} ({where})") from error


def _of_ranks(ranks: int, each: int) -> Size:
    if ranks <= each:
        return Size(1, ranks)
    nodes, rest = divmod(ranks, each)
    if rest:
        raise UserError(
            "bench scaling --ranks",
            f"{ranks} ranks = {nodes} nodes x {each} devices + {rest} would leave a node partly used",
            use=f"{nodes * each} or {(nodes + 1) * each}, or another resources.devices_per_node",
        )
    return Size(nodes, each)


def _doubling(first: int, last: int) -> list[int]:
    """Return `first`, twice as many, and so on, and `last`."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return [*found, last]
