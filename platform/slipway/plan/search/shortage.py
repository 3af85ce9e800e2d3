"""Composes the error if no layout fits: how much is missing, and the fewest devices that would do. Pure."""

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
"""Assumed if the profile does not state how many there are."""


def no_layout(config: RunConfig, found: Found, allowed: Allowed = NOTHING) -> UserError:
    """Return the error of a search that found nothing.

    config: with the most devices that were tried.
    """
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
        f"no layout fits on {world} devices: the one that needs least ({_in_words(candidate, world)}) needs "
        f"{size(needed)}, {size(needed - device)} more than the {size(device)} of a device that may be used (all but "
        f"{SPARE:.0%}){nothing}",
        use=use,
    )


def _all_refused(found: Found, world: int) -> UserError:
    """Return the error if not memory but a rule is in the way."""
    if not found.rejected:
        return UserError(
            "parallelism",
            f"no combination of the given sizes divides the {world} devices",
            do="change the sizes that are given, or the number of devices",
        )
    reason, count = found.rejected.most_common(1)[0]
    return UserError(
        reason,
        f"leaves no layout: {count:,} of {found.enumerated:,} break its rule ({found.sentences[reason]})",
        do="change that field",
    )


def _in_words(candidate: Candidate, world: int) -> str:
    sizes = {"TP": candidate.tensor, "CP": candidate.context, "EP": candidate.expert}
    sizes |= {"PP": candidate.pipeline, "VP": candidate.virtual, "DP": candidate.replicas(world)}
    parts = [words.layout(sizes), f"microbatch {candidate.micro_batch}", SHARDED[candidate.sharding]]
    return ", ".join([*parts, f"recompute {candidate.recompute}"])


def sentence(config: RunConfig, found: Found, reason: str) -> str:
    """Return a rule's message for the first candidate that it refused; for memory, the least that one needs."""
    device = usable_bytes(config)
    if reason != MEMORY or found.nearest is None or device is None:
        return found.sentences[reason]
    needed, candidate = found.nearest
    what = f"{_in_words(candidate, rules.world_size(config))} needs least of them"
    return f"{what}, {size(needed)} of {size(device)} that may be used"


def fewest(config: RunConfig, allowed: Allowed = NOTHING) -> tuple[int, int] | None:
    """Return nodes and devices per node of the smallest larger machine that has a layout; None if none has."""
    frugal: Mapping[str, Sequence] = _frugal(config, allowed)
    for nodes, devices in _larger(config):
        there = on_machines(config, nodes, devices)
        try:
            if search(there, frugal, first=True).layouts:
                return nodes, devices
        except UserError:
            return None  # more nodes than the machine has
    return None


def _frugal(config: RunConfig, allowed: Allowed) -> Allowed:
    """Return the allowed values reduced to the smallest microbatch and number of virtual stages.

    What does not fit with these fits with no others, which need more memory.
    """
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
