"""The result of a check, and the list of all checks."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Status = Literal["ok", "warning", "fault", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The result of one check on one node, or (node: empty) on the whole job."""

    name: str
    status: Status
    saw: str
    expected: str
    advice: str = ""
    node: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the finding as a dictionary, for JSON."""
        return asdict(self)


def judged(
    good: bool, name: str, saw: str, expected: str, advice: str, otherwise: Status = "fault", node: str = ""
) -> Finding:
    """Return a finding: ok if `good`; otherwise a fault (or the status in `otherwise`) with the advice."""
    return Finding(name, "ok" if good else otherwise, saw, expected, "" if good else advice, node)


def skipped(name: str, why: str, expected: str = "") -> Finding:
    """Return the finding of a check that does not apply here."""
    return Finding(name, "skipped", why, expected)


class Check(NamedTuple):
    """One line of `slipway doctor --help`."""

    name: str
    group: str
    line: str
    of_node: bool
    """Whether a fault belongs to a node, which a retry should leave out, and not to the job as a whole."""


CHECKS = (
    Check("driver", "image", "the GPU's driver is new enough for the image's CUDA; ROCm's is loaded", True),
    Check("image", "image", "the image's variant fits the profile's devices", False),
    Check(
        "versions", "image", "image, slipway, torch, Megatron-core, Python are the same on all nodes", True
    ),
    Check("user-site", "image", "no package of ~/.local reaches Python", False),
    Check("environment", "image", "PYTHONPATH, PYTHONHOME, LD_PRELOAD bring nothing of the host", False),
    Check("binds", "image", "what the profile binds into the container exists", True),
    Check("caches", "files", "the caches' folder can be written, has room, is not in $HOME", True),
    Check("run-dir", "files", "run.dir can be written", True),
    Check("run-dir-shared", "files", "a file that rank 0 writes into run.dir is seen on every node", True),
    Check("space", "files", "run.dir has room for the checkpoints of this model", False),
    Check("data", "files", "what training reads is prepared, readable and the same on all nodes", True),
    Check("shm", "files", "/dev/shm is large enough", True),
    Check("devices", "devices", "as many GPUs as resources.devices_per_node", True),
    Check("device-binding", "devices", "every rank of a node gets a GPU of its own", False),
    Check("cpu-binding", "devices", "every rank has cores of its own, as many as the profile says", False),
    Check("memlock", "devices", "memory may be locked, for RDMA", True),
    Check("open-files", "devices", "enough files and connections may be open", True),
    Check("interfaces", "network", "the profile's interfaces exist, are up, have an address", True),
    Check("settings", "network", "NCCL_* and GLOO_* variables name these interfaces and no slow way", False),
    Check("rdma", "network", "the fabric's devices and adapters are there, their ports active", True),
    Check("master-address", "network", "MASTER_ADDR resolves, to an address of the first node", False),
    Check("answers", "network", "every rank answers rank 0 in time", True),
    Check("transport", "network", "collectives use the fast fabric, not TCP or loopback", True),
    Check(
        "links", "network", "bandwidth between neighbouring nodes, against the profile and the others", True
    ),
    Check(
        "all-reduce", "network", "bus bandwidth of an all-reduce over all ranks, against the profile", False
    ),
    Check("node-all-reduce", "network", "the same within each node", True),
    Check("clock", "time", "the nodes' clocks agree with rank 0's", True),
    Check("file-clock", "time", "the file system's clock agrees with the node's", True),
    Check("time-left", "time", "the job has wall time left", False),
    Check("cpus-per-task", "slurm", "srun hands on the CPUs that the job has per task", False),
)
BY_NAME = {check.name: check for check in CHECKS}
