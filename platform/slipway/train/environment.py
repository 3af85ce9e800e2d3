"""A process's place in the world, from the environment that srun, torchrun or a pod gives it. Imports no torch."""

import math
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from slipway.errors import UserError

DEFAULT_PORT = 29500


@dataclass(frozen=True)
class Place:
    """Where a rank stands, and how it finds the others."""

    rank: int
    local_rank: int
    world_size: int
    master_addr: str
    master_port: int
    local_world_size: int | None = None  # ranks on every node alike; None: the launcher does not say
    own_store: bool = False  # the parent of this rank has found the place of the store; else the launcher has
    store_fd: int | None = None  # on the machine of rank 0: the store's socket, bound by the parent

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes for all."""
        return self.rank == 0

    def machines(self, devices_per_node: int) -> tuple[int, int]:
        """(nodes, devices per node) that the launcher started, the same answer in every rank.

        devices_per_node: what the configuration says, of use where the launcher says nothing.
        """
        local = self.local_world_size or math.gcd(self.world_size, devices_per_node)
        return self.world_size // local, local


@dataclass(frozen=True)
class Node:
    """A node whose only process is this one, as a pod is: it starts the node's ranks itself."""

    node_rank: int
    nodes: int
    master_addr: str
    master_port: int

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes for all."""
        return self.node_rank == 0

    def machines(self, devices_per_node: int) -> tuple[int, int]:
        """(nodes, devices per node); devices_per_node: what the configuration says."""
        return self.nodes, devices_per_node


# Where a node finds its place: Slipway's own names, and those that Kubeflow's trainer sets in a TrainJob's pods.
_NODE_VARIABLES = (
    ("SLIPWAY_NODE_RANK", "SLIPWAY_NNODES", "MASTER_ADDR", "MASTER_PORT"),
    ("PET_NODE_RANK", "PET_NNODES", "PET_MASTER_ADDR", "PET_MASTER_PORT"),
)


def launched(environment: Mapping[str, str]) -> Place | Node | None:
    """What a launcher says that this process is: a rank, or a node that starts its ranks; None: no launcher."""
    return started_rank(environment) or started_node(environment)


def started_node(environment: Mapping[str, str]) -> Node | None:
    """This process's place where something started it once per node, else None. Raises UserError."""
    for rank, nodes, host, port in _NODE_VARIABLES:
        if nodes not in environment:
            continue
        count, number = _integer(environment, nodes), _integer(environment, rank)
        if not 0 <= number < count:
            raise UserError(
                f"environment variable {rank}: {number} is not below {nodes} {count}; allowed: from 0"
            )
        if count > 1 and not environment.get(host):
            raise UserError(
                f"{host}: not set, but {nodes}={count} says that this process is one of several nodes; set {host} to "
                "the address of node 0"
            )
        return Node(number, count, environment.get(host, ""), _integer(environment, port, str(DEFAULT_PORT)))
    return None


def started_rank(environment: Mapping[str, str]) -> Place | None:
    """This process's place where torchrun, a pod (RANK, WORLD_SIZE...) or srun started it as one rank, else None."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    if "RANK" in environment and "WORLD_SIZE" in environment:
        host = "MASTER_ADDR"
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, not in a batch script
        names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")
        host = "MASTER_ADDR" if "MASTER_ADDR" in environment else "SLURM_LAUNCH_NODE_IPADDR"
    else:
        return None
    if host not in environment:
        raise UserError(
            f"MASTER_ADDR: not set, but {names[0]}={environment[names[0]]} says that a launcher started this "
            "process as a rank; set MASTER_ADDR to the address of rank 0's node"
        )
    return Place(
        rank=_integer(environment, names[0]),
        local_rank=_integer(environment, names[1], environment[names[0]]),
        world_size=_integer(environment, names[2]),
        master_addr=environment[host],
        master_port=_integer(environment, "MASTER_PORT", str(DEFAULT_PORT)),
        local_world_size=_local_world_size(environment, _integer(environment, names[2])),
    )


def _local_world_size(environment: Mapping[str, str], world_size: int) -> int | None:
    """Ranks per node, from what is the same in every rank; nodes with different numbers count in their divisor."""
    if "RANK" in environment:
        local = _integer(environment, "LOCAL_WORLD_SIZE", "0")
        nodes = _integer(environment, "GROUP_WORLD_SIZE", str(world_size // local if local else 0))
        return local if local and local * nodes == world_size else None
    tasks = re.findall(r"(\d+)(?:\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))  # "4(x2),2"
    local = math.gcd(*map(int, tasks))
    return local if local and world_size % local == 0 else None


def _integer(environment: Mapping[str, str], name: str, default: str | None = None) -> int:
    value = environment.get(name, default)
    try:
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError(f"environment variable {name}: {value!r} is not a whole number") from None


def listening_socket() -> socket.socket:
    """A socket bound to a free loopback port, for the store of a local run: no other process can take the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.set_inheritable(True)
    return sock
