"""Variables of the communication libraries: values that certainly make no sense, alone or beside the profile. Pure.

Ranges are from NCCL's documentation of its environment variables; if it gives none, the width of InfiniBand's field
(a larger number is cut off, silently: NCCL_IB_TIMEOUT=120 becomes 24, NCCL_IB_RETRY_CNT=10 becomes 2).
"""

from collections.abc import Mapping

_SWITCH = ("0", "1")
_NEAR = ("LOC", "NVL", "PIX", "PXB", "PHB", "SYS", "0", "1", "2", "3", "4", "5")

RANGES: Mapping[str, tuple[int, int]] = {
    "NCCL_IB_TIMEOUT": (1, 22),
    "NCCL_IB_RETRY_CNT": (0, 7),
    "NCCL_IB_SL": (0, 15),
    "NCCL_IB_TC": (0, 255),
    "NCCL_IB_GID_INDEX": (-1, 255),
    "NCCL_IB_QPS_PER_CONNECTION": (1, 128),
    "NCCL_NSOCKS_PERTHREAD": (1, 16),
    "NCCL_SOCKET_NTHREADS": (1, 16),
    "CUDA_DEVICE_MAX_CONNECTIONS": (1, 32),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "NCCL_IB_DISABLE": _SWITCH,
    "NCCL_P2P_DISABLE": _SWITCH,
    "NCCL_SHM_DISABLE": _SWITCH,
    "NCCL_NVLS_ENABLE": ("0", "1", "2"),
    "NCCL_CROSS_NIC": ("0", "1", "2"),
    "NCCL_IB_ADAPTIVE_ROUTING": _SWITCH,
    "NCCL_IB_PCI_RELAXED_ORDERING": ("0", "1", "2"),
    "NCCL_NET_GDR_LEVEL": _NEAR,
    "NCCL_P2P_LEVEL": _NEAR,
    "NCCL_SOCKET_FAMILY": ("AF_INET", "AF_INET6"),
    "NCCL_NTHREADS": ("64", "128", "256", "512"),
    "NCCL_DEBUG": ("VERSION", "WARN", "INFO", "ABORT", "TRACE"),
    "HSA_ENABLE_SDMA": _SWITCH,
    "CXI_FORK_SAFE": _SWITCH,
    "CXI_FORK_SAFE_HP": _SWITCH,
    "FI_CXI_DISABLE_CQ_HUGETLB": _SWITCH,
}
KNOWN = {*RANGES, *CHOICES}
# One fact in two places: the variable would override what the profile shows.
SAID_BY = {
    "NCCL_SOCKET_IFNAME": "interfaces",
    "GLOO_SOCKET_IFNAME": "interfaces",
    "NCCL_IB_HCA": "adapters",
}
MOST_SOCKETS = 64


def trouble(environment: Mapping[str, str], stated: Mapping[str, object]) -> str | None:
    """Return `NAME: what is wrong` for the first variable that cannot be meant; None if all may be.

    Args:
        environment: A profile's variables.
        stated: The fields of its network that have a value.
    """
    for name, value in environment.items():
        if why := _alone(name, value) or _beside(name, value, stated):
            return f"{name}: {why}"
    sockets, threads = (
        environment.get(name, "") for name in ("NCCL_NSOCKS_PERTHREAD", "NCCL_SOCKET_NTHREADS")
    )
    if sockets and threads and int(sockets) * int(threads) > MOST_SOCKETS:
        return (
            f"NCCL_NSOCKS_PERTHREAD: {sockets} x NCCL_SOCKET_NTHREADS {threads} = {int(sockets) * int(threads)} "
            f"connections; NCCL allows up to {MOST_SOCKETS}"
        )
    return None


def _alone(name: str, value: str) -> str | None:
    if name in RANGES:
        least, most = RANGES[name]
        number = int(value) if value.removeprefix("-").isdecimal() else None
        if number is None or not least <= number <= most:
            return f"{value} is outside of {least} to {most}"
    if name in CHOICES and value.upper() not in CHOICES[name]:
        return f"{value} is none of {', '.join(CHOICES[name])}"
    return None


def _beside(name: str, value: str, stated: Mapping[str, object]) -> str | None:
    if name in SAID_BY and stated.get(SAID_BY[name]):
        return f"network.{SAID_BY[name]} says it already; leave one of the two out"
    fabric = stated.get("fabric")
    if fabric in ("infiniband", "roce") and (
        (name, value) == ("NCCL_IB_DISABLE", "1") or (name == "NCCL_NET" and value.lower() == "socket")
    ):
        return f"{value} sends collectives over TCP, but network.fabric is {fabric}; omit it"
    if name == "NCCL_NET" and value.upper() == "IB" and fabric in ("slingshot", "efa", "ethernet"):
        return f"{value} needs InfiniBand or RoCE, but network.fabric is {fabric}"
    return None
