"""`slipway runs cancel`: end the jobs of a run, both those that run and those that wait."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slipway.commands import Missing, NoAnswer, call
from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.launch.leftovers import for_slurms_programs
from slipway.launch.record import Submission
from slipway.launch.schedulers import kubernetes
from slipway.launch.schedulers.asking import SchedulerUnavailable
from slipway.launch.schedulers.job_state import JobState
from slipway.launch.schedulers.slurm import ENDING
from slipway.launch.schedulers.states import Job
from slipway.runs import ending
from slipway.runs import jobs as run_jobs

WAIT_SECONDS = 60.0  # for jobs to leave the queue: Slurm's KillWait is 30 s by default
POLL_SECONDS = 1.0


def cancel(name: str, folder: Path, dry_run: bool, wait: bool = True) -> int:
    """End all jobs of a run, and return the exit code.

    On Kubernetes a resource that has finished or failed is removed, too: while it exists, the run cannot be launched
    again. wait: return when everything is gone, including pods that still save; then it can be.

    Raises UserError if no job can be ended, and Fault if one does not end.
    """
    found = run_jobs.of_run(folder)
    alive = [(job, state) for job, state in found.jobs if _there(job, state)]
    every = ending.submissions(job for job, _ in found.jobs)
    if not alive and not _left(every):
        raise UserError(f"runs cancel {name}", _why_nothing(found))
    if any(job.submission.scheduler == "slurm" and not job.id for job, _ in alive):
        raise UserError(
            f"runs cancel {name}",
            "sbatch printed no number for its job",
            do=f"find it with `squeue --me --name={shlex.quote(name)}` and end it with scancel",
        )
    if dry_run:
        for command in [*commands([job for job, _ in alive]), *_shared(name, every)]:
            print(shlex.join(command))
        return EXIT_DONE
    now, ended = time.time(), dict(alive)
    deadline = time.monotonic() + WAIT_SECONDS
    asked: dict[Job, int] = {}
    while True:
        # A job that is being ended can still submit the next one, or wait to run again: look until nothing is left.
        again = [job for job, state in alive if state.detail != ENDING and _renewed(asked, job, state)]
        for command in commands(again):
            _run(command)
        if not wait:
            break
        if alive and time.monotonic() > deadline:
            left = ", ".join(f"{job.id} is {run_jobs.text(state, time.time())}" for job, state in alive)
            raise Fault(
                f"runs cancel {name}",
                f"was asked to end, but has not ended after {WAIT_SECONDS:.0f} s: {left}",
                do=f"look again with `slipway runs show {name}`",
            )
        if not alive:
            break
        time.sleep(POLL_SECONDS)
        alive = [(job, state) for job, state in run_jobs.of_run(folder).jobs if _there(job, state)]
        ended = {**dict(alive), **ended}
    for command in [*_shared(name, every), *_leftovers(every)]:
        _run(command)
    if wait:
        ending.wait(name, every)
    for job, state in ended.items():
        print(f"{'cancelled' if state.alive else 'removed'} {_named(job)}: was {run_jobs.text(state, now)}")
    return EXIT_DONE


def commands(jobs: Sequence[Job]) -> list[list[str]]:
    """Return the commands that end jobs.

    Waiting continuations come first, so that they do not start when the job before them is gone.
    """
    words = []
    slurm = [job for job in jobs if job.submission.scheduler == "slurm"]
    for continues in (True, False):
        for name in dict.fromkeys(job.submission.name for job in slurm):
            ids = [job.id for job in slurm if (job.continues, job.submission.name) == (continues, name)]
            guard = [f"--name={name}"] if name else []  # spares any other job that has this number
            words += [["scancel", *guard, *ids]] if ids else []
    for job in jobs:
        if job.submission.scheduler == "kubernetes":
            one = job.submission
            what = f"{kubernetes.RESOURCES[one.kind or 'Job']}/{one.name}"
            delete = [*kubernetes.kubectl(one), "delete", what, *one.others]
            # in the foreground: the resource stays until its pods are gone
            words.append([*delete, "--cascade=foreground", "--ignore-not-found", "--wait=false"])
    return words


def _left(every: Sequence[Submission]) -> bool:
    try:
        return bool(ending.left_of(every))
    except SchedulerUnavailable:
        return False  # a cluster that does not answer has no state, either, and the message says so


def _shared(name: str, every: Sequence[Submission]) -> list[list[str]]:
    try:
        return ending.shared_commands(every)
    except (SchedulerUnavailable, ValueError) as error:
        print(f"slipway: runs cancel {name}: what its sweep shares is left there: {error}", file=sys.stderr)
        return []


def _leftovers(every: Sequence[Submission]) -> list[list[str]]:
    """Return the commands that remove what earlier submissions of the run left, after their own resources have gone."""
    words = []
    for where in dict.fromkeys((one.context, one.namespace) for one in every):
        mine = [one for one in every if (one.context, one.namespace) == where]
        names = sorted({name for one in mine for name in one.others})
        if len(mine) > 1 and names:
            words.append(
                [*kubernetes.kubectl(mine[0]), "delete", *names, "--ignore-not-found", "--wait=false"]
            )
    return words


def _there(job: Job, state: JobState) -> bool:
    return state.alive or (job.submission.scheduler == "kubernetes" and state.word in ("finished", "failed"))


def _renewed(asked: dict[Job, int], job: Job, state: JobState) -> bool:
    """Return whether the job has started since it was last asked to end, and note that it is asked now."""
    if asked.get(job) == state.restarts:
        return False
    asked[job] = state.restarts
    return True


def _run(command: Sequence[str]) -> None:
    try:
        done = call(command, seconds=60, environment=for_slurms_programs(os.environ))
    except Missing:
        raise Fault(
            "runs cancel",
            f"{command[0]} is not installed on this machine",
            do="run it on a machine that has it",
        ) from None
    except NoAnswer:
        raise Fault(
            "runs cancel",
            f"`{shlex.join(command)}` did not answer within 60 s",
            do="run the same command again",
        ) from None
    if done.code:
        raise Fault(
            "runs cancel",
            f"`{shlex.join(command)}` exited with code {done.code}: {done.last}",
            do="run that command by itself to see all of its output",
        )


def _named(job: Job) -> str:
    return f"job {job.id}" if job.submission.scheduler == "slurm" else job.id


def _why_nothing(found: run_jobs.RunJobs) -> str:
    if not found.jobs:
        return "was not submitted to a scheduler from here; a run that was started by hand ends on Ctrl-C or SIGTERM"
    job, state = found.jobs[-1]
    unknown = next(((job, state) for job, state in found.jobs if state.word == "unknown"), None)
    if unknown:
        job, state = unknown
    return f"nothing is queued or running: {_named(job)} is {run_jobs.text(state, time.time())}"
