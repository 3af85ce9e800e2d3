"""`slipway runs logs`: print a run's output, from the files in run.dir/logs or the logs of its pods."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.launch.schedulers import kubernetes
from slipway.launch.schedulers.asking import SchedulerUnavailable, ask
from slipway.launch.schedulers.states import Job, jobs_of
from slipway.run_dir import RunDir, rank_log
from slipway.runs import jobs as run_jobs
from slipway.runs.lock.holder import STALE_SECONDS
from slipway.runs.overview import Overview, look

JOBS = "slurm-*.out"
"""Output files of Slurm jobs; the newest is the one that was changed last."""
POLL_SECONDS = 0.5
ASK_SECONDS = 10.0  # between questions to the scheduler whether the run is over
BLOCK = 1 << 16


def logs(run: Overview, lines: int, rank: int | None, follow: bool) -> int:
    """Print the last lines of a run's output and, with follow, what comes until the run ends. Return the exit code."""
    jobs = jobs_of(run.dir)
    if jobs and jobs[-1].submission.scheduler == "kubernetes":
        return _of_pods(run, jobs[-1], lines, rank, follow)
    return _of_files(run, lines, rank, follow)


def _of_files(run: Overview, lines: int, rank: int | None, follow: bool) -> int:
    path = log_of(run.dir, rank)
    if path is None and not (follow and _alive(run.dir)):
        raise UserError(f"runs logs {run.name}", _why_none(run.dir, rank))
    at = 0
    if path:
        text, at = last_lines(path, lines)
        _write(text)
    if follow:
        for chunk in follow_files(lambda: log_of(run.dir, rank), path, at, lambda: _alive(run.dir)):
            _write(chunk)
    return EXIT_DONE


def log_of(run_dir: Path, rank: int | None) -> Path | None:
    """Return the file to show: a rank's own, else the newest output of a job; None if it does not exist."""
    if rank is not None:
        path = rank_log(RunDir(run_dir).logs, rank)
        return path if path.is_file() else None
    with contextlib.suppress(OSError):
        found = [(path.stat().st_mtime, path) for path in RunDir(run_dir).logs.glob(JOBS)]
        return max(found)[1] if found else None
    return None


def last_lines(path: Path, lines: int) -> tuple[bytes, int]:
    """Return the last lines of a file, and the offset in bytes at which the file ended."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start, text = size, b""
        while start > 0 and text.count(b"\n") <= lines:
            length = min(BLOCK, start)
            start -= length
            file.seek(start)
            text = file.read(length) + text
    kept = text.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept), size


def follow_files(
    newest: Callable[[], Path | None], path: Path | None, at: int, alive: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield what is appended to the newest file from offset `at` on, and to later files, while alive() holds."""
    asked, over = time.monotonic(), False
    while True:
        current = newest()
        if path is not None:
            for chunk in _read_from(path, at):
                at += len(chunk)
                yield chunk
        if current is not None and current != path:
            if path is not None:
                yield f"==> {current} <==\n".encode()
            path, at = current, 0
            continue
        if over:
            return
        if time.monotonic() - asked >= ASK_SECONDS:
            asked, over = time.monotonic(), not alive()  # read once more: the last lines
            continue
        time.sleep(POLL_SECONDS)


def _read_from(path: Path, at: int) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(at)
        while chunk := file.read(BLOCK):
            yield chunk


def _of_pods(run: Overview, job: Job, lines: int, rank: int | None, follow: bool) -> int:
    command = pods_command(run, job, lines, rank, follow)
    if _is_in_a_file(run, rank):
        assert rank is not None
        if log_of(run.dir, rank):  # the pods' volume is mounted here
            return _of_files(run, lines, rank, follow)
        command = file_command(run, job, lines, rank, follow, _pod_of(run, command))
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError(
            f"runs logs {run.name}",
            "kubectl is not installed on this machine",
            do="run the same command on a machine that has it",
        ) from None
    if done.returncode:
        raise Fault(
            f"runs logs {run.name}", f"kubectl exited with code {done.returncode}", do="see its output above"
        )
    return EXIT_DONE


def _is_in_a_file(run: Overview, rank: int | None) -> bool:
    """Return whether a rank is not the first of its pod, and so prints into run.dir/logs on the volume."""
    return rank is not None and rank % _ranks_per_pod(run) != 0


def _ranks_per_pod(run: Overview) -> int:
    return max(1, run.facts.world_size // run.facts.nodes) if run.facts else 1


def _pod_of(run: Overview, command: list[str]) -> str:
    """Return the pod whose log a command would print.

    Raises UserError if it is not running, because then no pod can read its volume, and Fault if kubectl does not
    answer.
    """
    at = command.index("logs")
    selector = next(word for word in command if word.startswith("--selector="))
    words = [*command[:at], "get", "pods", selector, "--field-selector=status.phase=Running", "--output=name"]
    try:
        found = ask(words).split()
    except SchedulerUnavailable as silent:
        raise Fault(f"runs logs {run.name}", str(silent)) from None
    if not found:
        logs = RunDir(run.dir).logs.name
        raise UserError(
            f"runs logs {run.name}",
            f"this rank prints into {logs}/ of its run.dir on the pods' volume, and its pod, which could read "
            "it, is not running",
            use="a pod's first rank, or run this command where the volume is mounted",
        )
    return found[-1]


def file_command(run: Overview, job: Job, lines: int, rank: int, follow: bool, pod: str) -> list[str]:
    """Return the kubectl command that reads, in its pod, the file on the volume that a rank prints into."""
    words = [word for word in kubernetes.kubectl(job.submission) if not word.startswith("--request-timeout")]
    file = rank_log(RunDir(Path(job.submission.run_dir or run.dir)).logs, rank)
    return [
        *words,
        "exec",
        pod,
        "--",
        "tail",
        f"--lines={lines}",
        *(["--follow=name"] if follow else []),
        str(file),
    ]


def pods_command(run: Overview, job: Job, lines: int, rank: int | None, follow: bool) -> list[str]:
    """Return the kubectl command for the log of a rank's pod.

    A pod holds a node's ranks, and prints the first one's output.

    Raises UserError if the run has no such rank.
    """
    one, facts = job.submission, run.facts
    if rank is not None and facts and rank >= facts.world_size:
        raise UserError(
            "runs logs --rank", "is not a rank of this run", value=rank, use=f"0 to {facts.world_size - 1}"
        )
    index = (rank or 0) // _ranks_per_pod(run)
    selector = f"{kubernetes.POD_LABELS[one.kind or 'Job']}={one.name},batch.kubernetes.io/job-completion-index={index}"
    words = [*kubernetes.kubectl(one), "logs", f"--selector={selector}", f"--tail={lines}"]
    if follow:  # follows for as long as the pod runs: no timeout
        words = [word for word in words if not word.startswith("--request-timeout")] + ["--follow"]
    return words


def _alive(run_dir: Path) -> bool:
    """Return whether more output may come: a process holds the run, or its scheduler has a job or does not answer."""
    run = look(run_dir, time.time())
    if run.holder is not None:
        return True
    current = run_jobs.of_run(run_dir).current
    if current is None:
        return time.time() - run.changed < STALE_SECONDS and run.state == "running"
    return current[1].alive or current[1].word == "unknown"


def _why_none(run_dir: Path, rank: int | None) -> str:
    """Return which output is missing, and which there is instead."""
    folder = RunDir(run_dir).logs
    ranks = sorted(int(path.stem[5:]) for path in folder.glob("rank-[0-9]*.log"))
    there = f"; --rank {ranks[0]} to {ranks[-1]} are there" if ranks else ""
    if rank is None:
        return f"no output of a job ({JOBS}) in {folder}; started by hand, it went to the terminal{there}"
    if log_of(run_dir, None):
        return (
            f"no rank {rank} in {folder}; under srun all ranks print into the job's output: leave --rank out"
        )
    return f"no rank {rank} in {folder}{there}"


def _write(text: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
