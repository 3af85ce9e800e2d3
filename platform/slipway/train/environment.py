"""A rank's place in the world, from the environment that srun, torchrun or a pod gives it. Imports no torch."""

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
    )


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
