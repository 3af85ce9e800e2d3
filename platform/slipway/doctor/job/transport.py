"""The way that collectives take, from NCCL's log or from the addresses of gloo's connections. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.config import selection
from slipway.config.cluster import Network
from slipway.doctor.checks.cores import RDMA
from slipway.doctor.checks.network import is_loopback
from slipway.doctor.finding import Finding, judged, skipped

# Lines of NCCL_DEBUG=INFO, by NCCL 2.10 to 2.27: which network the communicator has, which a channel goes by, and
# which provider libfabric chose for the plugin aws-ofi-nccl.
_NETWORK = (
    re.compile(r"NCCL INFO Using network (\S.*?)\s*$", re.MULTILINE),
    re.compile(r"NCCL INFO Assigned NET plugin (\S.*?) to comm", re.MULTILINE),
)
_CHANNEL = re.compile(r"\bvia NET/([^/\n]+)/(\S*)")
_PROVIDER = re.compile(r"NET/OFI Selected [Pp]rovider is (\S+?),?\s", re.MULTILINE)
_OVER_TCP = ("socket", "tcp", "sockets", "udp")


def in_log(text: str) -> dict[str, list[str]]:
    """Return networks, transports of channels between nodes, and libfabric's providers, as NCCL's log names them."""
    networks = {match for pattern in _NETWORK for match in pattern.findall(text)}
    channels = {name + ("/GDRDMA" if "GDRDMA" in rest else "") for name, rest in _CHANNEL.findall(text)}
    return {
        "networks": sorted(networks),
        "channels": sorted(channels),
        "providers": sorted(set(_PROVIDER.findall(text))),
    }


def over_tcp(log: Mapping[str, Sequence[str]]) -> list[str]:
    """Return which of them are TCP: of the channels or, if the log has none, of the networks; and of the providers."""
    ways = [*(log["channels"] or log["networks"]), *log["providers"]]
    return [way for way in ways if any(part in _OVER_TCP for part in re.split(r"[;/ ]", way.lower()))]


def judge(node: str, results: Iterable[Mapping[str, Any]], network: Network) -> Finding:
    """Return whether one node's ranks used the fabric in a job of several nodes.

    It follows from their logs (NCCL) or from the interfaces of their connections (gloo). network: the profile's.
    """
    results = list(results)
    if any(result["backend"] == "nccl" for result in results):
        return _nccl(node, [result["log"] for result in results], network)
    return _gloo(node, [tuple(pair) for result in results for pair in result["connections"]], network)


def _nccl(node: str, logs: Sequence[Mapping[str, Sequence[str]]], network: Network) -> Finding:
    expected = f"{network.fabric or 'the profile names no fabric'}" + (
        ", no TCP" if network.fabric in RDMA else ""
    )
    ways = sorted({way for log in logs for way in (*log["networks"], *log["channels"], *log["providers"])})
    slow = sorted({way for log in logs for way in over_tcp(log)})
    saw = f"NCCL by {', '.join(ways) or 'nothing that its log names'}"
    advice = (
        "collectives fell back to TCP: bind the fabric's devices and its plugin into the container (/dev/infiniband; "
        "aws-ofi-nccl below /opt/slipway/plugins), see NCCL_IB_HCA; if it is a single node, exclude it"
    )
    if network.fabric not in RDMA:
        return Finding("transport", "ok", saw, expected, node=node)
    if not ways:
        return Finding("transport", "warning", saw, expected, "look at NCCL_DEBUG=INFO by hand", node)
    return judged(not slow, "transport", saw, expected, advice, node=node)


def _gloo(node: str, connections: Sequence[tuple[str, str]], network: Network) -> Finding:
    used = sorted({(interface, address) for interface, address in connections})
    saw = "gloo by " + (", ".join(f"{name or 'no known interface'} {a}" for name, a in used) or "nothing")
    expected = (
        f"{' or '.join(network.interfaces) or 'an interface that reaches the other nodes'}, not the loopback"
    )
    advice = "set GLOO_SOCKET_IFNAME to an interface of the profile (network.interfaces)"
    if not used:
        return skipped("transport", "no connection between nodes was seen", expected)
    wrong = any(is_loopback(address) for _, address in used)
    wanted = selection.of_profile(network.interfaces)
    wrong |= any(not selection.takes(wanted, name) for name, _ in used)
    return judged(not wrong, "transport", saw, expected, advice, node=node)
