"""The checks of interfaces, addresses, adapters and network settings, before any collective."""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slipway.config import selection, variables
from slipway.doctor.checks.cores import RDMA
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
    """Return this machine's interfaces by name."""
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
    """Return whether an address is in 127.0.0.0/8, ::1 or localhost."""
    return address.startswith("127.") or address in ("::1", "localhost")


def interfaces(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """Return whether the profile's interfaces exist, are up and have an address. own: None: this machine's."""
    wanted = selection.of_profile(here.config.cluster.network.interfaces)
    own = own_interfaces() if own is None else own
    usable = [name for name, one in own.items() if one.up and one.addresses and not one.loopback]
    if not here.on_node:
        return skipped("interfaces", IN_JOB)
    if not wanted:
        return skipped("interfaces", f"the profile names none; usable here: {', '.join(usable) or 'none'}")
    taken = [name for name in own if selection.takes(wanted, name)]
    wrong = [f"{item} does not exist" for item in selection.missing(wanted, own)]
    if wanted[0].left_out:  # one of all the others is enough
        wrong += [] if set(taken) & set(usable) else [f"of {', '.join(taken) or 'none'} none is usable"]
        taken = [name for name in taken if name in usable]
    wrong += [trouble for name in taken if (trouble := _trouble(name, own[name]))]
    if here.multi_node:
        wrong += [f"{name} is the loopback" for name in taken if own[name].loopback]
    saw = "; ".join(wrong) or ", ".join(f"{name} {own[name].addresses[0]}" for name in taken)
    advice = f"mend cluster.network.interfaces; usable here: {', '.join(usable) or 'none'}"
    expected = f"{', '.join(map(str, wanted))}: up, with an address"
    return judged(not wrong, "interfaces", saw, expected, advice)


def _trouble(name: str, interface: Interface) -> str | None:
    if not interface.up:
        return f"{name} is down"
    return None if interface.addresses else f"{name} has no address"


def settings(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """Return whether variables would send collectives another way than the profile says."""
    environment, network = here.environment, here.config.cluster.network
    own = own_interfaces() if own is None else own
    wrong, given = [], []
    profile = selection.of_profile(network.interfaces)
    for variable, read in (
        ("NCCL_SOCKET_IFNAME", selection.of_nccl),
        ("GLOO_SOCKET_IFNAME", selection.of_gloo),
    ):
        if text := environment.get(variable):
            given.append(f"{variable}={text}")
            wrong += [f"{variable}={text}: {why}" for why in _other_way(text, read, profile, here, own)]
    if text := environment.get("NCCL_IB_HCA"):
        given.append(f"NCCL_IB_HCA={text}")
        wrong += [f"NCCL_IB_HCA={text}: {why}" for why in _other_adapters(text, here)]
    if senseless := variables.trouble({k: v for k, v in environment.items() if k in variables.KNOWN}, {}):
        wrong.append(senseless)
    slow = {"NCCL_IB_DISABLE": "1", "NCCL_NET": "Socket", "FI_PROVIDER": "tcp", "NCCL_P2P_DISABLE": "1"}
    for variable, value in slow.items():
        if environment.get(variable, "").lower() == value.lower() and network.fabric in RDMA:
            wrong.append(f"{variable}={value}: takes the fast way out")
    saw = "; ".join(wrong) or ", ".join(given) or "none set"
    expected = f"interfaces {', '.join(network.interfaces) or 'of the profile'}; fabric {network.fabric or 'not known'}"
    advice = "unset these variables, or mend cluster.environment and cluster.network.interfaces"
    return judged(not wrong, "settings", saw, expected, advice)


def _other_way(
    text: str,
    read: Callable[[str], list[selection.Item]],
    profile: Sequence[selection.Item],
    here: Here,
    own: Mapping[str, Interface],
) -> list[str]:
    """Return what is wrong with the interfaces that a variable's value takes."""
    try:
        items = read(text)
    except ValueError as error:
        return [str(error)]
    taken = [name for name in own if selection.takes(items, name)]
    left_out = bool(items) and items[0].left_out
    if here.on_node and (missing := selection.missing(items, own)):
        return [f"no such interface: {', '.join(map(str, missing))}"]
    if left_out and not profile:  # NCCL itself takes the loopback last
        return []
    if here.multi_node and not left_out and any(own[name].loopback for name in taken):
        return ["the loopback reaches no other node"]
    others = [name for name in taken if not selection.takes(profile, name) and not own[name].loopback]
    usable = [name for name in others if own[name].up and own[name].addresses]
    wrong = usable if left_out else others
    return [f"takes {', '.join(wrong)}, but the profile says {', '.join(map(str, profile))}"] if wrong else []


def _other_adapters(text: str, here: Here) -> list[str]:
    """Return what is wrong with the adapters that NCCL_IB_HCA takes."""
    try:
        items = selection.of_nccl(text)
    except ValueError as error:
        return [str(error)]
    there, profile = _adapters(here), selection.of_profile(here.config.cluster.network.adapters)
    if not here.on_node or not there:
        return []  # the check rdma reports what is missing
    if missing := selection.missing(items, there):
        return [f"no such adapter: {', '.join(map(str, missing))}"]
    others = [n for n in there if selection.takes(items, n) and not selection.takes(profile, n)]
    return (
        [f"takes {', '.join(others)}, but the profile says {', '.join(map(str, profile))}"] if others else []
    )


def _adapters(here: Here) -> dict[str, dict[int, str]]:
    """Return the host channel adapters of this node, with the state of each port, such as `4: ACTIVE`."""
    ports = here.path("/sys/class/infiniband").glob("*/ports/*/state")
    found: dict[str, dict[int, str]] = {}
    for path in sorted(ports):
        if path.parent.name.isdecimal():
            found.setdefault(path.parents[2].name, {})[int(path.parent.name)] = path.read_text().strip()
    return found


def rdma(here: Here) -> Finding:
    """Return whether the fabric's device files exist, and whether the profile's adapters have an active port."""
    network = here.config.cluster.network
    if network.fabric not in RDMA:
        return skipped("rdma", f"the profile's fabric is {network.fabric or 'not known'}")
    if not here.on_node:
        return skipped("rdma", IN_JOB)
    folder, pattern = ("/dev", "cxi*") if network.fabric == "slingshot" else ("/dev/infiniband", "uverbs*")
    files = [path.name for path in here.path(folder).glob(pattern)]
    wrong = [] if files else [f"no {folder}/{pattern}"]
    wanted = selection.of_profile(network.adapters if network.fabric != "slingshot" else ())
    there = _adapters(here)
    wrong += [f"no adapter {item}" for item in selection.missing(wanted, there)]
    taken = {
        name: [state for port, state in ports.items() if selection.takes(wanted, name, port)]
        for name, ports in there.items()
        if wanted and selection.takes(wanted, name)
    }
    down = [
        f"{name}: {', '.join(states) or 'no such port'}"
        for name, states in taken.items()
        if not any("ACTIVE" in state for state in states)
    ]
    one_is_enough = bool(wanted) and (wanted[0].left_out or wanted[0].begins)
    wrong += [] if one_is_enough and len(down) < len(taken) else down
    if one_is_enough and not taken and wanted[0].left_out:
        wrong.append(f"of the adapters {', '.join(there) or 'none'} none is left")
    expected = f"{folder}/{pattern}" + (
        f" and {', '.join(network.adapters)}, active" if network.adapters else ""
    )
    advice = (
        "bind the fabric's devices into the container (pods: the RDMA resource of the profile); else the adapter or "
        "its cable: leave the node out, tell the site"
    )
    return judged(not wrong, "rdma", "; ".join(wrong) or f"{len(files)} {pattern}", expected, advice)


def resolve(name: str, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Return the addresses of a name; empty if it has none, or if the answer takes longer than `seconds`."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM))

    asking = threading.Thread(target=ask, daemon=True)  # a silent name server must not block the process
    asking.start()
    asking.join(seconds)
    return list(dict.fromkeys(found))


def master_address(here: Here, own: Mapping[str, Interface] | None = None) -> Finding:
    """Return whether MASTER_ADDR is an address of the first node that the others reach.

    It must resolve, in a job of several nodes not to the loopback, and on the first node to one of its own addresses.
    """
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
