"""What the schedulers report about the runs shown: each scheduler is asked once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.errors import UserError
from slipway.files import Unreadable
from slipway.launch.schedulers.job_state import JobState
from slipway.launch.schedulers.states import Job, ask, jobs_of
from slipway.words import duration

LISTED = 3  # newest jobs of a run that the list asks for: one that runs, the next one, and one to spare


@dataclass(frozen=True)
class RunJobs:
    """The jobs of a run, oldest first, with their states. Empty for runs that no scheduler knows."""

    jobs: list[tuple[Job, JobState]]

    @property
    def current(self) -> tuple[Job, JobState] | None:
        """The job that runs, else the one that waits, else the newest."""
        alive = [one for one in self.jobs if one[1].alive]
        running = [one for one in alive if one[1].word == "running"]
        return next(iter([*running, *alive, *self.jobs[-1:]]), None)

    @property
    def segment(self) -> int:
        """The number of segments that the jobs of the newest submission have begun; a forgotten job counts as one."""
        newest = self.jobs[-1][0].submission if self.jobs else None
        states = [state for job, state in self.jobs if job.submission == newest]
        return sum(state.restarts + (state.word not in ("pending", "requeued")) for state in states)

    @property
    def limit(self) -> int | None:
        """The most segments that the chain has; None: not recorded."""
        return self.jobs[-1][0].submission.chain if self.jobs else None

    def as_json(self) -> list[dict[str, Any]]:
        """Return all jobs as JSON, for programs; times in Unix seconds."""
        return [_as_json(job, state) for job, state in self.jobs]

    def current_as_json(self) -> dict[str, Any] | None:
        """Return the current job as JSON, for the list; None if the run was not launched."""
        return _as_json(*self.current) if self.current else None


def of_runs(folders: Iterable[Path], whole: bool = False) -> dict[Path, RunJobs]:
    """Return the newest jobs of runs, and what the queue knows of them, for people.

    whole: all jobs, and what sacct and the pods know of them, too. A run whose records cannot be read has no jobs
    here: the overview reports it.
    """
    jobs = {folder: _readable(folder)[0 if whole else -LISTED :] for folder in folders}
    known = ask([job for mine in jobs.values() for job in mine], past=whole, pods=whole)
    return {folder: _launched(mine, known) for folder, mine in jobs.items()}


def of_run(folder: Path) -> RunJobs:
    """Return all jobs of a run, including those that have left the queue, and what pods wait for.

    Raises UserError or Unreadable if its records cannot be read.
    """
    jobs = jobs_of(folder)
    return _launched(jobs, ask(jobs))


def text(state: JobState, now: float) -> str:
    """Return a state in words.

    For example `running on n[1-2], 3 h 05 min left` or `pending (Resources), expected 2026-01-31 12:00`.
    """
    words: str = state.word
    if state.nodes and state.word == "running":
        words += f" on {state.nodes}"
    if state.detail:
        words += f" ({state.detail})"
    if state.word in ("pending", "requeued") and state.start:
        words += f", expected {time.strftime('%Y-%m-%d %H:%M', time.localtime(state.start))}"
    if state.word == "running" and state.end:
        words += f", {duration(state.end - now)} left"
    if state.restarts:
        words += f", {state.restarts} restart{'s' if state.restarts > 1 else ''}"
    return words


def _readable(folder: Path) -> list[Job]:
    try:
        return jobs_of(folder)
    except (UserError, Unreadable):
        return []


def _launched(jobs: list[Job], known: dict[Job, JobState]) -> RunJobs:
    return RunJobs([(job, known[job]) for job in jobs if job in known])  # a local one has no scheduler


def _as_json(job: Job, state: JobState) -> dict[str, Any]:
    one = job.submission
    return {
        "scheduler": one.scheduler,
        "cluster": one.cluster,
        "id": job.id,
        "namespace": one.namespace,
        "context": one.context,
        "continues": job.continues,
        "submitted": None if job.continues else one.submitted,
        **state.as_json(),
    }
