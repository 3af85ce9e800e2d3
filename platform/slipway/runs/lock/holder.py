"""The file that names the holder of a run, beside the lock. Its age tells whether the holder is alive."""

import os
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import files
from slipway.run_dir import RunDir

STALE_SECONDS = 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WORKLOAD = "SLIPWAY_JOB_ID"
"""A variable of pods: the workload's name, which is the same whenever the run is launched."""
JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", WORKLOAD)


class Holder(BaseModel):
    """One process that trains a run."""

    model_config = ConfigDict(frozen=True)

    host: str
    machine: str
    """An id that differs between any two running kernels, whatever their host names."""
    pid: int
    job: str | None
    since: float
    """Unix seconds."""
    locked: bool = True
    """False: the file system has no locks, and only the heartbeat shows that the holder lives."""

    @classmethod
    def here(cls, locked: bool = True) -> "Holder":
        """Return this process as a holder."""
        machine = BOOT_ID.read_text(encoding="utf-8").strip() if BOOT_ID.exists() else socket.gethostname()
        return cls(
            host=socket.gethostname(),
            machine=machine,
            pid=os.getpid(),
            job=job_id(os.environ),
            since=time.time(),
            locked=locked,
        )

    @classmethod
    def nameless(cls, since: float) -> "Holder":
        """Return a holder about whom nothing is known."""
        return cls(host="?", machine="?", pid=0, job=None, since=since)

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.host} (pid {self.pid}{job}) since {since}"


def job_id(environment: Mapping[str, str]) -> str | None:
    """Return the scheduler's number of this job; None without a scheduler."""
    return next((environment[name] for name in JOB_VARIABLES if environment.get(name)), None)


def write(run_dir: Path, holder: Holder) -> None:
    """Write who holds the run; whole or not at all."""
    files.write_whole(RunDir(run_dir).holder, holder.model_dump_json() + "\n")


def read(run_dir: Path) -> tuple[Holder, float] | None:
    """Return (holder, its last heartbeat by the file system's clock); None if no holder is named.

    A file that cannot be understood stands for a nameless holder. Raises Unreadable.
    """
    path = RunDir(run_dir).holder

    def look() -> tuple[bytes, float]:
        with files.opened(path) as file:  # opening, not stat: NFS asks the server only then
            return file.read(), os.fstat(file.fileno()).st_mtime

    try:
        content, beat = files.patiently(look, path)
    except files.ABSENT:
        return None
    try:
        return Holder.model_validate_json(content), beat
    except ValidationError:
        return Holder.nameless(beat), beat


def file_system_time(folder: Path) -> float:
    """Return the time in Unix seconds by the clock that stamps files in a folder: it may be another machine's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def is_own(holder: Holder | None, environment: Mapping[str, str]) -> bool:
    """Return whether a holder is a pod of the run that this pod belongs to: that is no mistake, and soon over.

    Slurm restarts a job only when its processes are gone: there, two starts in one job are the user's doing.
    """
    job = environment.get(WORKLOAD)
    return holder is not None and bool(job) and holder.job == job
