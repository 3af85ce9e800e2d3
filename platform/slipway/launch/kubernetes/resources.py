"""What a pod requests from its node: the devices, and a share of the node's cores and memory."""

import re
from fractions import Fraction

from slipway.config.schema import RunConfig
from slipway.errors import UserError

Amounts = dict[str, str]

_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<suffix>m|[kMGTPE]|[KMGTPE]i)?")
_BYTES: dict[str, int | Fraction] = {"": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("KMGTPE", start=1)
    for end, base in (("i", 1024), ("", 1000))
}
_BYTES |= {"k": 1000, "m": Fraction(1, 1000)}

# For nodes of unknown size: for each device so little that it fits anywhere. A pod that asks for nothing is
# the first to be evicted, and refused if a quota is set.
LEAST = {"cpu": "250m", "memory": "1Gi"}


def resources_of(config: RunConfig) -> dict[str, Amounts]:
    """Return `requests` and `limits` of a pod. Raises UserError if an amount in the profile is not a quantity.

    They are the same if the node's size is known: devices cannot be shared, and a pod that gets only what the next
    one leaves over slows the whole run. On a node of unknown size, pods request little and are not limited.
    """
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    devices, part = config.resources.devices_per_node, share(config)
    limits = _of_node(config) | {
        name: _scaled(name, amount, part) for name, amount in kubernetes.resources.items()
    }
    if kubernetes.device_resource:
        limits[kubernetes.device_resource] = str(devices)
    least = {name: _scaled(name, amount, Fraction(devices)) for name, amount in LEAST.items()}
    return {"requests": dict(sorted((least | limits).items())), "limits": dict(sorted(limits.items()))}


def share(config: RunConfig) -> Fraction:
    """Return the share of a node that a pod of this run takes."""
    devices = config.resources.devices_per_node
    return Fraction(devices, config.cluster.devices_per_node or devices)


def shm_bytes(config: RunConfig) -> int:
    """Return the size of /dev/shm in bytes: the pod's share of a whole node's."""
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    return int(Fraction(kubernetes.shm_gib) * 2**30 * share(config))


def check_shm(config: RunConfig) -> None:
    """Raise UserError if /dev/shm, which counts as the pod's memory, could use up all of it."""
    memory = resources_of(config)["limits"].get("memory")
    if memory is None or shm_bytes(config) < in_bytes(memory):
        return
    raise UserError(
        "cluster.kubernetes.shm_gib",
        f"/dev/shm of {shm_bytes(config) / 2**30:g} GiB must be smaller than the pod's memory of {memory}, "
        "which it is part of, or the pod would be killed",
        do="reduce it, or raise the memory (cluster.node.memory_gib, cluster.kubernetes.resources.memory)",
    )


def check_fits_node(config: RunConfig) -> None:
    """Raise UserError if a profile requests nothing, more than a node has, or the devices a second time."""
    kubernetes, node, part = config.cluster.kubernetes, config.cluster.node, share(config)
    assert kubernetes is not None
    at = "cluster.kubernetes.resources"
    if kubernetes.device_resource in kubernetes.resources:
        raise UserError(
            f"{at}.{kubernetes.device_resource}", "resources.devices_per_node already sets it", do="omit it"
        )
    asked, there = resources_of(config)["limits"], {}
    if node.cores:
        there["cpu"] = (node.cores * part, f"{node.cores} of cluster.node.cores")
    if node.memory_gib:
        there["memory"] = (
            Fraction(node.memory_gib) * 2**30 * part,
            f"{node.memory_gib:g} GiB of cluster.node.memory_gib",
        )
    for name in ("cpu", "memory"):
        if name not in asked:
            continue
        amount = in_bytes(asked[name])
        if amount <= 0:
            raise UserError(f"{at}.{name}", "leaves a pod without any", value=asked[name], use="more than 0")
        if name in there and amount > there[name][0]:
            of = f"{part} of " if part != 1 else ""
            raise UserError(
                f"{at}.{name}",
                f"is more than {of}a node's {there[name][1]}, so the pod would wait forever",
                value=asked[name],
                do="reduce it",
            )


def in_words(config: RunConfig) -> str:
    """Return what each pod requests, with the arithmetic, in words."""
    found, node, kubernetes = resources_of(config), config.cluster.node, config.cluster.kubernetes
    assert kubernetes is not None
    asked = ", ".join(f"{name} {amount}" for name, amount in found["requests"].items())
    lacking = [name for name in ("cpu", "memory") if name not in found["limits"]]
    if lacking:
        fields = {"cpu": "cluster.node.cores", "memory": "cluster.node.memory_gib"}
        return (
            f"{asked}; no limit of {' and '.join(lacking)}: {' and '.join(fields[name] for name in lacking)} "
            "are not known"
        )
    of = [f"{node.cores} cores"] if node.cores and "cpu" not in kubernetes.resources else []
    of += [f"{node.memory_gib:g} GiB"] if node.memory_gib and "memory" not in kubernetes.resources else []
    part = share(config) if share(config) != 1 else ""
    why = f" (cpu and memory: {kubernetes.node_share:.0%} of {f'{part} of ' if part else ''}{', '.join(of)})"
    return asked + (why if of else "")


def totals(of_a_pod: Amounts, pods: int) -> Amounts:
    """Return the amounts that all pods of a gang request together."""
    return {name: _scaled(name, amount, Fraction(pods)) for name, amount in of_a_pod.items()}


def in_bytes(amount: str) -> Fraction:
    """Return a quantity as a number: of memory in bytes, of cpu in cores."""
    match = _QUANTITY.fullmatch(amount)
    assert match is not None
    return Fraction(match["number"]) * _BYTES[match["suffix"] or ""]


def _of_node(config: RunConfig) -> Amounts:
    """Return the pod's share of its node: whole CPUs, so that a node may bind them, and whole GiB of memory.

    Shares below one are given in millicores and MiB.
    """
    kubernetes, node = config.cluster.kubernetes, config.cluster.node
    assert kubernetes is not None
    part = share(config) * Fraction(str(kubernetes.node_share))
    found = {}
    if node.cores:
        cpus = node.cores * part
        found["cpu"] = str(int(cpus)) if cpus >= 1 else f"{int(cpus * 1000)}m"
    if node.memory_gib:
        gib = Fraction(node.memory_gib) * part
        found["memory"] = f"{int(gib)}Gi" if gib >= 1 else f"{int(gib * 1024)}Mi"
    return found


def _scaled(name: str, amount: str, share: Fraction) -> str:
    match = _QUANTITY.fullmatch(amount)
    if match is None:
        raise UserError(
            f"cluster.kubernetes.resources.{name}",
            "is not a quantity",
            value=amount,
            use="a quantity like 8, 500m or 64Gi",
        )
    if share == 1:
        return amount
    number, suffix = Fraction(match["number"]) * share, match["suffix"] or ""
    if number.denominator == 1:
        return f"{number}{suffix}"
    if suffix == "m" or "/" in name:  # cannot be divided: rounded up
        return f"{-(-number.numerator // number.denominator)}{suffix}"
    for finer, factor in _FINER.get(suffix, ()):
        if (number * factor).denominator == 1:
            return f"{number * factor}{finer}"
    return f"{max(1, int(number))}{suffix}"


_FINER = {
    "": (("m", 1000),),
    "Gi": (("Mi", 1024),),
    "Ti": (("Gi", 1024), ("Mi", 1024**2)),
    "G": (("M", 1000),),
}
