"""The devices of the benchmark: this machine's GPUs, or for a rehearsal its CPU as if it were two small devices."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slipway import commands
from slipway.bench.record import versions
from slipway.errors import UserError

LOOK_SECONDS = 120.0  # enough to read torch from a cold, shared file system
REHEARSAL_DEVICES = 2
REHEARSAL_GIB = 2.0  # of each, so that the number of layers is chosen there, too
# variables that launchers set for their ranks; a part starts its own
LAUNCHERS = ("SLURM_", "PMI", "OMPI_", "TORCHELASTIC_", "PET_", "SLIPWAY_NODE", "SLIPWAY_NNODES", "GROUP_")
RANK_VARIABLES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Here:
    """The devices, all alike."""

    kind: str
    """cuda (NVIDIA's and AMD's), or cpu in a rehearsal."""
    name: str
    count: int
    memory_gib: float
    """Memory of one device."""
    driver: str | None
    versions: dict[str, str]

    @property
    def rehearse(self) -> bool:
        """Whether shapes are tiny, on CPU ranks."""
        return self.kind == "cpu"

    def cluster(self) -> list[str]:
        """Return overrides for one of these devices, with its memory."""
        return [
            "cluster=local" if self.rehearse else "cluster=local_gpu",
            f"cluster.device.memory_gib={self.memory_gib:.2f}",
        ]

    def plain(self) -> dict[str, Any]:
        """Return the fields for a file; results may be compared only if all of them are the same."""
        return asdict(self)


def rehearsal() -> Here:
    """Return two CPU ranks that stand in for GPUs."""
    return Here("cpu", "CPU (rehearsal)", REHEARSAL_DEVICES, REHEARSAL_GIB, None, versions())


def look() -> Here:
    """Return this machine's GPUs, found by a process of its own, so that CUDA does not start in this one.

    Raises UserError if there is none.
    """
    plain: dict[str, Any]
    try:
        asked = commands.call(
            [sys.executable, "-m", "slipway.bench.gpu.device"],
            seconds=LOOK_SECONDS,
            environment=environment(),
        )
        plain = json.loads(asked.output) if asked.code == 0 else {"trouble": asked.last}
    except (commands.NotRun, ValueError) as error:
        plain = {"trouble": str(error)}
    if "trouble" in plain:
        raise UserError(
            "bench gpu",
            f"found no GPU to measure: {plain['trouble']}",
            do="try it with tiny shapes on the CPU (--rehearse)",
        )
    return Here(**plain, driver=driver(), versions=versions())


def environment() -> dict[str, str]:
    """Return the variables for a part: without those of a launcher that started this command as a rank."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in RANK_VARIABLES and not name.startswith(LAUNCHERS)
    }


def driver(root: Path = Path("/")) -> str | None:
    """Return the version of the GPU driver's kernel module, NVIDIA's or AMD's; None if neither states one."""
    for module in ("nvidia", "amdgpu"):
        try:
            return (root / "sys/module" / module / "version").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
    return None


def _look() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"trouble": f"torch cannot be imported ({error})"}
    if not torch.cuda.is_available():
        return {"trouble": f"torch {torch.__version__} sees none"}
    every = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    names = sorted({one.name for one in every})
    if len(names) > 1:
        return {"trouble": f"they differ ({', '.join(names)}): show it alike ones (CUDA_VISIBLE_DEVICES)"}
    memory = min(one.total_memory for one in every) / 2**30
    return {"kind": "cuda", "name": names[0], "count": len(every), "memory_gib": round(memory, 2)}


if __name__ == "__main__":
    print(json.dumps(_look()))
