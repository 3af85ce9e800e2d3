"""Interfaces, addresses, adapters and settings of the network, before any collective."""

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.doctor.cores import RDMA
from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here

RESOLVE_SECONDS = 10.0


@dataclass(frozen=True)
class Interface:
    """A network interface of this node."""

    up: bool
    addresses: tuple[str, ...]

    @property
    def loopback(self) -> bool:
        """Whether it reaches only this node."""
        return any(is_loopback(address) for address in self.addresses)


def own_interfaces() -> dict[str, Interface]:
    """Of this machine, by name."""
    import psutil

    stats = psutil.net_if_stats()
    families = (socket.AF_INET, socket.AF_INET6)
    return {
        name: Interface(
            name in stats and stats[name].isup,
            tuple(entry.address.partition("%")[0] for entry in entries if entry.family in families),
        )
        for name, entries in psutil.net_if_addrs().items()
    }


def is_loopback(address: str) -> bool:
    """127.0.0.0/8 and ::1."""
    return address.startswith("127.") or address in ("::1", "localhost")


def interfaces(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """The profile's interfaces: there, up, with an address. own: None: this machine's."""
    wanted = here.config.cluster.network.interfaces
    own = own_interfaces() if own is None else own
    usable = [name for name, one in own.items() if one.up and one.addresses and not one.loopback]
    if not here.on_node:
        return skipped("interfaces", IN_JOB)
    if not wanted:
        return skipped("interfaces", f"the profile names none; usable here: {', '.join(usable) or 'none'}")
    wrong = [trouble for name in wanted if (trouble := _trouble(name, own.get(name)))]
    if here.multi_node:
        wrong += [f"{name} is the loopback" for name in wanted if name in own and own[name].loopback]
    saw = "; ".join(wrong) or ", ".join(f"{name} {own[name].addresses[0]}" for name in wanted)
    advice = f"mend cluster.network.interfaces; usable here: {', '.join(usable) or 'none'}"
    expected = f"{', '.join(wanted)}: up, with an address"
    return judged(not wrong, "interfaces", saw, expected, advice)


def _trouble(name: str, interface: Interface | None) -> str | None:
    if interface is None:
        return f"{name} does not exist"
    if not interface.up:
        return f"{name} is down"
    return None if interface.addresses else f"{name} has no address"


def settings(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """Variables that would send collectives another way than the profile says."""
    environment, network = here.environment, here.config.cluster.network
    own = own_interfaces() if own is None else own
    wrong, given = [], []
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        names = [name for name in environment.get(variable, "").split(",") if name]
        if not names:
            continue
        given.append(f"{variable}={','.join(names)}")
        wrong += [
            f"{variable}={name}: {why}" for name in names if (why := _other_way(name, here, own, variable))
        ]
    slow = {"NCCL_IB_DISABLE": "1", "NCCL_NET": "Socket", "FI_PROVIDER": "tcp", "NCCL_P2P_DISABLE": "1"}
    for variable, value in slow.items():
        if environment.get(variable, "").lower() == value.lower() and network.fabric in RDMA:
            wrong.append(f"{variable}={value}: takes the fast way out")
    saw = "; ".join(wrong) or ", ".join(given) or "none set"
    expected = f"interfaces {', '.join(network.interfaces) or 'of the profile'}; fabric {network.fabric or 'not known'}"
    advice = "unset these variables, or mend cluster.environment and cluster.network.interfaces"
    return judged(not wrong, "settings", saw, expected, advice)


def _other_way(name: str, here: Here, own: Mapping[str, Interface], variable: str) -> str | None:
    """What is wrong with an interface that NCCL (prefixes, =NAME, ^NAME) or gloo (names) is to take."""
    if name.startswith("^"):
        return None
    plain = name.lstrip("=")
    prefix = variable.startswith("NCCL") and not name.startswith("=")
    matching = [own[one] for one in own if one == plain or (prefix and one.startswith(plain))]
    if here.on_node and not matching:
        return "no such interface"
    if here.multi_node and any(one.loopback for one in matching):
        return "the loopback reaches no other node"
    wanted = here.config.cluster.network.interfaces
    if wanted and not any(one == plain or (prefix and one.startswith(plain)) for one in wanted):
        return f"the profile says {', '.join(wanted)}"
    return None


def rdma(here: Here) -> Finding:
    """Device files of the fabric, and the profile's adapters with an active port."""
    network = here.config.cluster.network
    if network.fabric not in RDMA:
        return skipped("rdma", f"the profile's fabric is {network.fabric or 'not known'}")
    if not here.on_node:
        return skipped("rdma", IN_JOB)
    folder, pattern = ("/dev", "cxi*") if network.fabric == "slingshot" else ("/dev/infiniband", "uverbs*")
    files = [path.name for path in here.path(folder).glob(pattern)]
    wrong = [] if files else [f"no {folder}/{pattern}"]
    for adapter in network.adapters if network.fabric != "slingshot" else ():
        name = adapter.partition(":")[0].lstrip("=^")
        states = [
            path.read_text().strip()
            for path in here.path(f"/sys/class/infiniband/{name}/ports").glob("*/state")
        ]
        if not states:
            wrong.append(f"no adapter {name}")
        elif not any("ACTIVE" in state for state in states):
            wrong.append(f"{name}: {', '.join(states)}")
    expected = f"{folder}/{pattern}" + (
        f" and {', '.join(network.adapters)}, active" if network.adapters else ""
    )
    advice = (
        "bind the fabric's devices into the container (pods: the RDMA resource of the profile); else the adapter or "
        "its cable: leave the node out, tell the site"
    )
    return judged(not wrong, "rdma", "; ".join(wrong) or f"{len(files)} {pattern}", expected, advice)


def resolve(name: str, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Addresses of a name; empty where it has none, or the answer takes longer."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM))

    asking = threading.Thread(target=ask, daemon=True)  # a name server that is silent keeps nobody
    asking.start()
    asking.join(seconds)
    return list(dict.fromkeys(found))


def master_address(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """MASTER_ADDR: has addresses; in a job of several nodes no loopback; on the first node one of its own."""
    if here.place is None:
        return skipped("master-address", IN_JOB)
    own = own_interfaces() if own is None else own
    name = here.place.master_addr
    found = resolve(name)
    mine = {address for one in own.values() for address in one.addresses}
    expected = "an address of rank 0's node that the others reach"
    advice = (
        "set MASTER_ADDR to the first node's name or address on the job's network (slurm.host_suffix and "
        "slurm.resolve_address of the profile); in pods to the headless Service's name"
    )
    saw = f"{name} is {', '.join(found)}" if found and name not in found else name
    if not found:
        return Finding("master-address", "fault", f"{name} does not resolve", expected, advice)
    if here.multi_node and all(is_loopback(address) for address in found):
        return Finding("master-address", "fault", f"{saw}: the loopback", expected, advice)
    if here.place.rank == 0 and not any(address in mine or is_loopback(address) for address in found):
        saw += (
            f", which is not {here.host}: it has {', '.join(sorted(a for a in mine if not is_loopback(a)))}"
        )
        return Finding("master-address", "fault", saw, expected, advice)
    return Finding("master-address", "ok", saw, expected)
