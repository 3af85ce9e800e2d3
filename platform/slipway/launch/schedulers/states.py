"""The jobs of a run, and the states of many runs' jobs with one question to each scheduler."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway.launch import record
from slipway.launch.record import Submission
from slipway.launch.schedulers import kubernetes, slurm
from slipway.launch.schedulers.job_state import JobState


@dataclass(frozen=True)
class Job:
    """One job of a run: a submission, or a Slurm job that one of its jobs submitted to continue."""

    submission: Submission
    id: str
    """Slurm: the job's number; Kubernetes: KIND/NAME; local: empty."""
    continues: bool = False

    def __hash__(self) -> int:
        return hash((self.submission.scheduler, self.submission.context, self.submission.namespace, self.id))


def jobs_of(folder: Path) -> list[Job]:
    """Return all jobs of a run, oldest first. Raises UserError if its record cannot be read."""
    found = record.read(folder)
    if found is None:
        return []
    jobs = [Job(one, _id(one)) for one in found.submissions]
    known = {job.id for job in jobs}
    for number in record.continuations(folder):
        if number in known:
            continue
        known.add(number)
        earlier = [
            job for job in jobs if job.submission.scheduler == "slurm" and _order(job.id) < _order(number)
        ]
        if earlier:
            jobs.append(Job(earlier[-1].submission, number, continues=True))
    return sorted(jobs, key=lambda job: (job.submission.submitted, job.continues, _order(job.id)))


def ask(jobs: Iterable[Job], past: bool = True, pods: bool = True) -> dict[Job, JobState]:
    """Return the states of jobs.

    past: ask Slurm for jobs that have left the queue; pods: ask Kubernetes what waiting jobs wait for.
    """
    jobs = list(jobs)
    by_slurm = [job for job in jobs if job.submission.scheduler == "slurm"]
    by_kubernetes = [job for job in jobs if job.submission.scheduler == "kubernetes"]
    numbers = slurm.states({job.id: job.submission.name for job in by_slurm if job.id}, past)
    resources = kubernetes.states([job.submission for job in by_kubernetes], pods)
    return {
        **{job: numbers[job.id] if job.id else slurm.named(job.submission.name) for job in by_slurm},
        **{job: resources[kubernetes.key(job.submission)] for job in by_kubernetes},
    }


def _id(submission: Submission) -> str:
    if submission.scheduler == "kubernetes":
        return f"{submission.kind}/{submission.name}"
    return submission.id or ""


def _order(number: str) -> int:
    first = number.split("_")[0]
    return int(first) if first.isdecimal() else 0
