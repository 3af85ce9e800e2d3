"""What to say where no layout fits: how much is missing, and the fewest devices that would do. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from slipway import words
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import rules
from slipway.plan.elastic import on_machines
from slipway.plan.search.candidate import Candidate
from slipway.plan.search.search import MEMORY, SPARE, Found, search, usable_bytes
from slipway.plan.search.space import NOTHING, SIZES, Allowed, Space
from slipway.plan.search.words import SHARDED
from slipway.words import size

MOST_NODES = 4096
DEVICES_OF_A_NODE = 8
"""Where the profile does not say how many there are."""


def no_layout(config: RunConfig, found: Found, allowed: Allowed = NOTHING) -> UserError:
    """Return the error of a search that found nothing. config: of the most devices that were tried."""
    device, world = usable_bytes(config), rules.world_size(config)
    if found.nearest is None or device is None:
        return _all_refused(found, world)
    needed, candidate = found.nearest
    shape = fewest(config, allowed)
    most = max(config.cluster.nodes or MOST_NODES, config.resources.nodes)
    nothing = "" if shape else f"; none does on up to {most} nodes either"
    use = ""
    if shape:
        nodes, devices = shape
        use = f"{nodes * devices} devices (nodes {nodes} x devices_per_node {devices}), the fewest that would do"
    return UserError(
        "resources.nodes",
        f"no layout fits on {world} devices: the most frugal one ({_in_words(candidate, world)}) needs "
        f"{size(needed)}, {size(needed - device)} more than the {size(device)} of a device that may be used (all but "
        f"{SPARE:.0%}){nothing}",
        use=use,
    )


def _all_refused(found: Found, world: int) -> UserError:
    """Return memory is not what is missing."""
    if not found.rejected:
        return UserError("parallelism", f"no combination of the given sizes divides the {world} devices")
    reason, count = found.rejected.most_common(1)[0]
    return UserError(
        reason,
        f"leaves no layout: {count:,} of {found.enumerated:,} break its rule ({found.sentences[reason]})",
    )


def _in_words(candidate: Candidate, world: int) -> str:
    sizes = {"TP": candidate.tensor, "CP": candidate.context, "EP": candidate.expert}
    sizes |= {"PP": candidate.pipeline, "VP": candidate.virtual, "DP": candidate.replicas(world)}
    parts = [words.layout(sizes), f"microbatch {candidate.micro_batch}", SHARDED[candidate.sharding]]
    return ", ".join([*parts, f"recompute {candidate.recompute}"])


def sentence(config: RunConfig, found: Found, reason: str) -> str:
    """Return what a rule says of the first candidate that it refused, and what the memory lacks at least."""
    device = usable_bytes(config)
    if reason != MEMORY or found.nearest is None or device is None:
        return found.sentences[reason]
    needed, candidate = found.nearest
    what = f"{_in_words(candidate, rules.world_size(config))} needs least of them"
    return f"{what}, {size(needed)} of {size(device)} that may be used"


def fewest(config: RunConfig, allowed: Allowed = NOTHING) -> tuple[int, int] | None:
    """Return nodes and devices per node of the smallest machine above this one that has a layout; None where none has."""
    frugal: Mapping[str, Sequence] = _frugal(config, allowed)
    for nodes, devices in _larger(config):
        there = on_machines(config, nodes, devices)
        try:
            if search(there, frugal, first=True).layouts:
                return nodes, devices
        except UserError:
            return None  # more than the machine has
    return None


def _frugal(config: RunConfig, allowed: Allowed) -> Allowed:
    """Return the smallest microbatch, and no virtual stages: what needs more memory than that fits nowhere else."""
    space = Space.of(config, allowed)
    return {
        **allowed,
        SIZES["micro_batch"]: [min(space.micro_batch)] if space.micro_batch else [1],
        SIZES["virtual"]: [min(space.virtual)],
    }


def _larger(config: RunConfig) -> Iterator[tuple[int, int]]:
    cluster, resources = config.cluster, config.resources
    node = cluster.devices_per_node or max(DEVICES_OF_A_NODE, resources.devices_per_node)
    if resources.nodes == 1:
        yield from ((1, devices) for devices in range(resources.devices_per_node + 1, node + 1))
    else:
        node = resources.devices_per_node
    for nodes in range(resources.nodes + 1, (cluster.nodes or MOST_NODES) + 1):
        yield nodes, node
