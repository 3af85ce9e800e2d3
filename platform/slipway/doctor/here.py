"""The surroundings that the checks of one process look at: the run, the environment, the files of this machine."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.config.schema import RunConfig
from slipway.ranks.environment import Place, node_name

PREPARES = "SLIPWAY_DOCTOR_PREPARES"  # set by pod.py for the ranks of a machine alone
IN_JOB = "runs on a compute node: start it in a job, with srun, torchrun or in a pod"


@dataclass(frozen=True)
class Here:
    """One process and its surroundings. root: stands for / in /proc, /sys, /dev and the container's directories."""

    config: RunConfig
    environment: Mapping[str, str]
    host: str
    place: Place | None = None
    root: Path = Path("/")
    files_limit: tuple[int, int] | None = None
    """RLIMIT_NOFILE (soft, hard) as the job has it: rank 0 raises its own."""

    def path(self, absolute: str) -> Path:
        """Return the path of a file of this machine, below root."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str | None:
        """Return the text of such a file; None if it cannot be read."""
        try:
            return self.path(absolute).read_text(errors="replace")
        except OSError:
            return None

    @property
    def in_image(self) -> bool:
        """Whether this is Slipway's image."""
        return self.path("/opt/slipway/etc/env.sh").exists()

    @property
    def in_container(self) -> bool:
        """Whether the container's binds are in place: in Slipway's image or another one under Apptainer."""
        return self.in_image or self.path("/.singularity.d").exists()

    @property
    def on_node(self) -> bool:
        """Whether this is where training runs; a login node is not."""
        cluster = self.config.cluster
        scheduled = cluster.slurm is not None or cluster.kubernetes is not None
        inside = "SLURM_JOB_ID" in self.environment or "KUBERNETES_SERVICE_HOST" in self.environment
        return self.place is not None or inside or not scheduled

    @property
    def multi_node(self) -> bool:
        """Whether the job has several nodes."""
        if self.place is None:
            return self.config.resources.nodes > 1
        return self.place.machines(self.config.resources.devices_per_node)[0] > 1

    @property
    def prepares(self) -> bool:
        """Whether training here would prepare the data, as it does if one process starts all ranks."""
        return PREPARES in self.environment

    @property
    def leads_node(self) -> bool:
        """Whether this process does the checks of its node."""
        return self.place is None or self.place.local_rank == 0 or not self._knows_local_rank

    @property
    def _knows_local_rank(self) -> bool:
        return "LOCAL_RANK" in self.environment or "RANK" not in self.environment


def host_name(environment: Mapping[str, str]) -> str:
    """Return the name by which the scheduler knows this node; MACHINE/POD for a pod whose machine is known."""
    name = node_name(environment)
    pod = "SLIPWAY_NODE_NAME" in environment and "SLURMD_NODENAME" not in environment
    return f"{name}/{socket.gethostname().partition('.')[0]}" if pod else name


def cores_online(here: Here) -> int:
    """Return the number of logical CPUs of this machine."""
    text = here.read("/sys/devices/system/cpu/online") or ""
    spans = re.findall(r"(\d+)(?:-(\d+))?", text)
    return sum(int(last or first) - int(first) + 1 for first, last in spans) or os.cpu_count() or 1
