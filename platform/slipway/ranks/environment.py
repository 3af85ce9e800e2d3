"""A process's place in the world, from the environment that srun, torchrun or a pod gives it. Imports no torch."""

import math
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slipway.errors import UserError

DEFAULT_PORT = 29500


@dataclass(frozen=True)
class Place:
    """The place of a rank, and how it finds the others."""

    rank: int
    local_rank: int
    world_size: int
    master_addr: str
    master_port: int
    local_world_size: int | None = None  # the same on every node; None: the launcher does not say
    own_store: bool = False  # the rank's parent chose the store's address; else the launcher did
    store_fd: int | None = None  # on the machine of rank 0: the store's socket, bound by the parent

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes for all."""
        return self.rank == 0

    def machines(self, devices_per_node: int) -> tuple[int, int]:
        """Return (nodes, devices per node) as the launcher started them, the same answer in every rank.

        devices_per_node: the configuration's, used if the launcher does not tell.
        """
        local = self.local_world_size or math.gcd(self.world_size, devices_per_node)
        return self.world_size // local, local


@dataclass(frozen=True)
class Node:
    """A node whose only process is this one, such as a pod: the process starts the node's ranks itself."""

    node_rank: int
    nodes: int
    master_addr: str
    master_port: int

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes for all."""
        return self.node_rank == 0

    def machines(self, devices_per_node: int) -> tuple[int, int]:
        """Return (nodes, devices per node). devices_per_node: the configuration's."""
        return self.nodes, devices_per_node


def node_name(environment: Mapping[str, str]) -> str:
    """Return the name by which the scheduler knows this machine, the only one by which a job can avoid it.

    On clouds, host names differ from it. Without a scheduler the host name is used, without its domain.
    """
    given = environment.get("SLURMD_NODENAME") or environment.get(
        "SLIPWAY_NODE_NAME"
    )  # set by slurmd; for a pod, its node
    return given or socket.gethostname().partition(".")[0]


# Variables that tell a node its place: Slipway's own names, and those that Kubeflow's trainer sets in its pods.
_NODE_VARIABLES = (
    ("SLIPWAY_NODE_RANK", "SLIPWAY_NNODES", "MASTER_ADDR", "MASTER_PORT"),
    ("PET_NODE_RANK", "PET_NNODES", "PET_MASTER_ADDR", "PET_MASTER_PORT"),
)


def launched(environment: Mapping[str, str]) -> Place | Node | None:
    """Return what a launcher says that this process is: a rank, or a node that starts its ranks; None: no launcher.

    Raises UserError as `started_rank` and `started_node` do.
    """
    return started_rank(environment) or started_node(environment)


def started_node(environment: Mapping[str, str]) -> Node | None:
    """Return this process's place if something started it once per node, else None.

    Raises UserError if a variable makes no sense, or if node 0's address is missing.
    """
    for rank, nodes, host, port in _NODE_VARIABLES:
        if nodes not in environment:
            continue
        count, number = _integer(environment, nodes), _integer(environment, rank)
        if not 0 <= number < count:
            raise UserError(
                f"environment variable {rank}",
                f"is not below {nodes} {count}",
                value=number,
                use="ranks that start from 0",
            )
        if count > 1 and not environment.get(host):
            raise UserError(
                host,
                f"is not set, but {nodes}={count} shows that this process runs on one of several nodes",
                do=f"set {host} to the address of node 0",
            )
        return Node(number, count, environment.get(host, ""), _integer(environment, port, str(DEFAULT_PORT)))
    return None


def started_rank(environment: Mapping[str, str]) -> Place | None:
    """Return this process's place if srun, torchrun or a pod (RANK, WORLD_SIZE...) started it as one rank, else None.

    What srun says of its tasks is true. RANK and the like may be left over in the shell that called it, unless they
    are from a launcher that each task has started in turn. Raises UserError if no reading makes sense.
    """
    of_step = _of_step(environment)
    names = _RANK_NAMES
    if of_step and not _inside_a_task(environment):
        names = _STEP_NAMES
        host = "MASTER_ADDR" if "MASTER_ADDR" in environment else "SLURM_LAUNCH_NODE_IPADDR"
        _check_address(environment)
    elif "RANK" in environment and "WORLD_SIZE" in environment:
        host = "MASTER_ADDR"
    else:
        return None
    if host not in environment:
        raise UserError(
            "MASTER_ADDR",
            f"is not set, but {names[0]}={environment[names[0]]} shows that a launcher "
            "started this process as a rank",
            do="set MASTER_ADDR to the address of rank 0's node",
        )
    world_size = _integer(environment, names[2])
    return Place(
        rank=_integer(environment, names[0]),
        local_rank=_integer(environment, names[1], environment[names[0]]),
        world_size=world_size,
        master_addr=environment[host],
        master_port=_integer(environment, "MASTER_PORT", str(DEFAULT_PORT)),
        local_world_size=_local_world_size(environment, names, world_size),
    )


def left_over(environment: Mapping[str, str]) -> str | None:
    """Return what a launcher other than srun has left in the environment of its tasks, in words; None: nothing."""
    names = [f"{name}={environment[name]}" for name in _RANK_NAMES if name in environment]
    if not names or not _of_step(environment) or _inside_a_task(environment):
        return None
    step = [f"{name}={environment[name]}" for name in _STEP_NAMES if name in environment]
    if [word.partition("=")[2] for word in names] == [word.partition("=")[2] for word in step]:
        return None
    return f"{', '.join(names)} left in the environment count for nothing: srun says {', '.join(step)}"


_RANK_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
_STEP_NAMES = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")


def _of_step(environment: Mapping[str, str]) -> int:
    """Return the number of tasks in this process's srun step; 0 outside a step, or for a single task.

    A single task may start ranks itself. A batch script has no such variable.
    """
    tasks = _integer(environment, "SLURM_STEP_NUM_TASKS", "1")
    return tasks if tasks > 1 else 0


def _inside_a_task(environment: Mapping[str, str]) -> bool:
    """Return whether a launcher (such as torchrun) within the srun task started this process.

    Such a launcher starts the same number of ranks, more than one, in each task, and numbers them one task after the
    other; torchrun also tells how many of its agents there are. Raises UserError if the variables contradict each
    other.
    """
    agents = [name for name in environment if name.startswith("TORCHELASTIC_")]
    tasks, task = _of_step(environment), _integer(environment, "SLURM_PROCID", "0")
    world, rank = _integer(environment, "WORLD_SIZE", "0"), _integer(environment, "RANK", "-1")
    if agents and rank >= 0 and _integer(environment, "GROUP_WORLD_SIZE", "0") == tasks:
        return True
    if agents:
        group = environment.get("GROUP_WORLD_SIZE", "none")
        raise UserError(
            f"environment variables {agents[0]} and SLURM_STEP_NUM_TASKS",
            f"torchrun has {group} agents (GROUP_WORLD_SIZE), but srun has {tasks} tasks",
            use=f"one torchrun in each task (--nnodes={tasks}), or none: then unset {agents[0]} and its kind, RANK, "
            "LOCAL_RANK and WORLD_SIZE before srun",
        )
    each = world // tasks
    if each < 2 or each * tasks != world or rank < 0:
        return False
    if rank // each != task:
        raise UserError(
            "environment variables RANK and SLURM_PROCID",
            f"rank {rank} of {world} (WORLD_SIZE), {each} of them in each of {tasks} tasks of srun, cannot be in "
            f"task {task}",
            use=f"{task * each} to {task * each + each - 1}, or, if srun starts the ranks, unset RANK, LOCAL_RANK and "
            "WORLD_SIZE before it",
        )
    return True


def _check_address(environment: Mapping[str, str]) -> None:
    """Refuse an address at which ranks cannot meet because each node takes it for itself. Raises UserError."""
    host, nodes = environment.get("MASTER_ADDR", ""), _integer(environment, "SLURM_STEP_NUM_NODES", "1")
    if nodes > 1 and (host == "localhost" or host.startswith("127.") or host == "::1"):
        raise UserError(
            "environment variable MASTER_ADDR",
            f"resolves to a different machine on each of the {nodes} nodes of this srun step",
            value=host,
            do="set it to the address of rank 0's node, or unset it",
        )


def _local_world_size(environment: Mapping[str, str], names: Sequence[str], world_size: int) -> int | None:
    """Return the number of ranks per node, from what is the same in every rank; None if unknown.

    If nodes differ, it is the greatest common divisor of their numbers.
    """
    if names == _RANK_NAMES:
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
        raise UserError(
            f"environment variable {name}",
            "is not a whole number",
            value=value,
            do="unset it, or set it as the launcher should",
        ) from None


def listening_socket() -> socket.socket:
    """Return a socket on a free loopback port for the store of a local run: no other process can take the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.set_inheritable(True)
    return sock
