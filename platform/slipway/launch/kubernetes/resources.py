"""What a pod asks of its node."""

import re
from fractions import Fraction

from slipway.config.schema import RunConfig
from slipway.errors import UserError

_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<suffix>m|[kMGTPE]|[KMGTPE]i)?")


def resources_of(config: RunConfig) -> dict[str, str]:
    """Requests, which are the limits too: the devices, and their share of what the profile gives a whole node.

    Raises UserError where the profile's amount is none.
    """
    kubernetes, cluster = config.cluster.kubernetes, config.cluster
    assert kubernetes is not None
    devices = config.resources.devices_per_node
    share = Fraction(devices, cluster.devices_per_node or devices)
    found = {name: _scaled(name, amount, share) for name, amount in kubernetes.resources.items()}
    if kubernetes.device_resource:
        found[kubernetes.device_resource] = str(devices)
    return dict(sorted(found.items()))


def totals(of_a_pod: dict[str, str], pods: int) -> dict[str, str]:
    """Of all pods of a gang."""
    return {name: _scaled(name, amount, Fraction(pods)) for name, amount in of_a_pod.items()}


def _scaled(name: str, amount: str, share: Fraction) -> str:
    match = _QUANTITY.fullmatch(amount)
    if match is None:
        raise UserError(
            f"cluster.kubernetes.resources.{name}: {amount!r} is no amount; allowed: as in 8, 500m, 64Gi"
        )
    if share == 1:
        return amount
    number, suffix = Fraction(match["number"]) * share, match["suffix"] or ""
    if number.denominator == 1:
        return f"{number}{suffix}"
    if suffix == "m" or "/" in name:  # whole things: a share of one is one
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
