"""Variables that tell the network libraries which interfaces and adapters a profile names. Pure."""

from slipway.config import selection
from slipway.config.cluster import Network


def environment(network: Network) -> dict[str, str]:
    """Return the variables by which NCCL and gloo choose interfaces and adapters; gloo's only if names are exact."""
    found = {}
    if network.interfaces:
        interfaces = selection.of_profile(network.interfaces)
        found["NCCL_SOCKET_IFNAME"] = selection.to_nccl(interfaces)
        exact = selection.to_gloo(interfaces)
        if exact:
            found["GLOO_SOCKET_IFNAME"] = exact
    if network.adapters:
        found["NCCL_IB_HCA"] = selection.to_nccl(selection.of_profile(network.adapters))
    return found
