"""A rank's place in the world, from the environment that srun, torchrun or a pod gives it. Imports no torch."""

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
    local_port_fd: int | None = None  # a run on this machine alone: the store's socket, bound by the parent
    local_world_size: int | None = None  # ranks on every node alike; None: the launcher does not say

    def machines(self, devices_per_node: int) -> tuple[int, int]:
        """(nodes, devices per node) that the launcher started, the same answer in every rank.

        devices_per_node: what the configuration says, of use where the launcher says nothing.
        """
        local = self.local_world_size or math.gcd(self.world_size, devices_per_node)
        return self.world_size // local, local


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


def listening_socket(address: str = "127.0.0.1") -> socket.socket:
    """A socket bound to a free port, for the store of a local run: no other process can take the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((address, 0))
    sock.listen(1024)
    sock.set_inheritable(True)
    return sock
