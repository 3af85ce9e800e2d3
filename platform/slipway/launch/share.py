"""The share of a node that a job is given: a profile describes whole nodes, and a job may take part of one. Pure."""

import math
import re

from slipway.config.cluster import Slurm
from slipway.config.schema import RunConfig
from slipway.errors import UserError

_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def cores_per_task(config: RunConfig) -> int | None:
    """Return the number of cores of each rank; None: the site's default."""
    node, devices, slurm = config.cluster.node, config.cluster.devices_per_node, _slurm(config)
    if node.cores_per_device:
        return node.cores_per_device
    if node.cores and devices and slurm.exclusive:
        return max(1, node.cores // devices)
    return None


def check(config: RunConfig) -> None:
    """Check that a job requests no more of a node than the profile says it has: Slurm would refuse it.

    Raises UserError.
    """
    node, devices, asked = config.cluster.node, config.resources.devices_per_node, memory(config)
    cores = cores_per_task(config)
    if cores and node.cores and cores * devices > 2 * node.cores:  # some sites count hardware threads
        raise UserError(
            "cluster.node.cores_per_device",
            f"is too many: {devices} ranks x {cores} = {cores * devices} are more than two threads on each of a "
            f"node's {node.cores} cores (cluster.node.cores)",
            value=cores,
            use=f"up to {node.cores // devices}",
        )
    if asked and node.memory_gib and _mebibytes(asked) > node.memory_gib * 1024:
        raise UserError(
            "cluster.slurm.memory",
            f"is more than a node's {node.memory_gib:g} GiB (cluster.node.memory_gib)",
            value=asked,
            do="reduce it",
        )


def memory(config: RunConfig) -> str | None:
    """Return the value of --mem, which a profile gives for a whole node; None: the site's default.

    On shared nodes it is the part that belongs to the job's devices.
    """
    slurm, given = _slurm(config), _slurm(config).memory
    devices, whole = config.resources.devices_per_node, config.cluster.devices_per_node
    if given is None or slurm.exclusive or whole is None or devices >= whole:
        return given
    if given == "0":  # all memory of the node
        there = config.cluster.node.memory_gib
        mebibytes = there * 1024 if there else None
    else:
        mebibytes = _mebibytes(given)
    return f"{math.floor(mebibytes * devices / whole)}M" if mebibytes else None


def _mebibytes(size: str) -> float:
    found = re.match(r"(\d+)([KMGT]?)", size.upper())
    assert found is not None, "the schema lets nothing else pass"
    return int(found[1]) * _UNITS[found[2] or "M"]


def cpu_masks(config: RunConfig) -> list[str]:
    """Return the CPU masks of the job's local ranks; empty on a shared node, whose other cores are somebody else's."""
    masks, devices = config.cluster.node.cpu_masks, config.resources.devices_per_node
    return list(masks[:devices]) if _slurm(config).exclusive and len(masks) >= devices else []


def shown_devices(config: RunConfig) -> list[str]:
    """Return words before a task's command that show it all devices of the job, for sites whose srun shows one."""
    if not _slurm(config).show_all_devices or config.cluster.device.kind == "cpu":
        return []
    numbers = ",".join(map(str, range(config.resources.devices_per_node)))
    return ["env", f"CUDA_VISIBLE_DEVICES={numbers}"]


def _slurm(config: RunConfig) -> Slurm:
    assert config.cluster.slurm is not None, "placement says that it is a Slurm cluster"
    return config.cluster.slurm
