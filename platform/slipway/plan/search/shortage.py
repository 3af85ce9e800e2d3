"""What to say where no layout fits: how much is missing, and the fewest devices that would do. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import rules
from slipway.plan.elastic import on_machines
from slipway.plan.memory import GIB, device_bytes
from slipway.plan.search.candidate import Applied, Candidate
from slipway.plan.search.search import MEMORY, Found, search
from slipway.plan.search.space import SIZES, Allowed, Space

MOST_NODES = 4096
DEVICES_OF_A_NODE = 8
"""Where the profile does not say how many there are."""


def no_layout(config: RunConfig, found: Found, allowed: Allowed = {}) -> UserError:
    """The error of a search that found nothing. config: of the most devices that were tried."""
    shape = fewest(config, allowed)
    most = max(config.cluster.nodes or MOST_NODES, config.resources.nodes)
    use = ""
    if shape:
        use = f"{shape[0] * shape[1]} devices (nodes {shape[0]} x devices_per_node {shape[1]}), the fewest that would do"
    where = f"no layout fits on {rules.world_size(config)} devices"
    nodes = "" if shape else f"; none does on up to {most} nodes either"
    return UserError("resources.nodes", f"{where}: {_why(config, found)}{nodes}", use=use)


def _why(config: RunConfig, found: Found) -> str:
    device = device_bytes(config)
    if found.nearest and device is not None:
        needed, candidate = found.nearest
        return (
            f"the most frugal one ({_in_words(candidate, rules.world_size(config))}) needs {needed / GIB:.1f} GiB of a "
            f"device's {device / GIB:.1f} GiB, {(needed - device) / GIB:.1f} GiB too many"
        )
    if not found.rejected:
        return "what is given contradicts itself, so that there is nothing to look at"
    reason, count = found.rejected.most_common(1)[0]
    return f"{count:,} of {found.enumerated:,} break a rule of {reason} ({sentence(config, found, reason)})"


def _in_words(candidate: Candidate, world: int) -> str:
    sizes = {"TP": candidate.tensor, "CP": candidate.context, "EP": candidate.expert}
    sizes |= {"PP": candidate.pipeline, "VP": candidate.virtual, "DP": candidate.replicas(world)}
    shown = " × ".join(f"{name}{size}" for name, size in sizes.items() if size > 1) or "one device"
    return f"{shown}, {candidate.sharding}, recompute {candidate.recompute}"


def sentence(config: RunConfig, found: Found, reason: str) -> str:
    """What the rule says of the first candidate that was refused for a reason."""
    example = found.examples[reason]
    try:
        rules.check_choice(Applied(config, rules.world_size(config))(example))
    except UserError as error:
        value = "" if error.value is None else f"{error.value} "
        return f"{value}{error.problem}"
    return "a device has less" if reason == MEMORY else "has no effect with one replica"


def fewest(config: RunConfig, allowed: Allowed = {}) -> tuple[int, int] | None:
    """Nodes and devices per node of the smallest machine above this one that has a layout; None where none has."""
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
    """The smallest microbatch, and no virtual stages: what needs more memory than that fits nowhere else."""
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
