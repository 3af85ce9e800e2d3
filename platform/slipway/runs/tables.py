"""Runs and segments as tables for people."""

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slipway.metrics import wandb_data
from slipway.runs.energy import of_run, of_segment
from slipway.runs.jobs import RunJobs
from slipway.runs.jobs import text as job_text
from slipway.runs.ledger import Segment
from slipway.runs.overview import Overview, reason_text
from slipway.words import clock, duration, figure

COLOURS = {
    "submitted": "magenta",
    "running": "cyan",
    "finished": "green",
    "stopped": "yellow",
    "failed": "red",
    "lost": "red",
}
PIPE_WIDTH = 200  # columns, if no window limits them


def print_runs(
    runs: list[Overview], folder: Path, now: float, jobs: Mapping[Path, RunJobs] | None = None
) -> None:
    """Print the list of runs, one line each. jobs: those of the launched runs, by folder."""
    if not runs:
        print(f"no runs in {folder}")
        return
    table = _table(f"Runs in {folder}")
    for column in ("name", "model", "layout"):
        table.add_column(column, overflow="fold")
    for column in ("step", "loss", "segments", "device-hours", "kWh"):
        table.add_column(column, justify="right")
    table.add_column("state")
    current = {folder: one.current for folder, one in (jobs or {}).items() if one.current}
    if current:
        table.add_column("scheduler", overflow="fold")
    table.add_column("last change", justify="right")
    for run in runs:
        facts = run.facts
        job = current.get(run.dir)
        table.add_row(
            escape(run.name),
            escape(facts.model) if facts else "-",
            facts.layout_text if facts else "-",
            steps_text(run),
            "-" if run.progress.loss is None else f"{run.progress.loss:.4f}",
            str(len(run.segments)),
            figure(run.device_hours),
            run.energy.in_words,
            f"[{COLOURS[run.state]}]{escape(state_text(run))}",
            *([escape(f"{job[0].id} {job_text(job[1], now)}") if job else "-"] if current else []),
            f"{duration(now - run.changed)} ago",
        )
    _console().print(table)


def print_run(
    run: Overview, now: float, jobs: RunJobs | None = None, accounted: Mapping[int, float] | None = None
) -> None:
    """Print one run: what it is, a line for each segment and, if it was launched, one for each job.

    accounted: joules by segment, as a scheduler has them.
    """
    console = _console()
    table = _table(f"Run {run.name}")
    for column in ("segment", "start", "duration", "steps", "device-hours", "kWh"):
        table.add_column(column, justify="right")
    for column in ("layout", "host", "job", "ended"):
        table.add_column(column, overflow="fold")
    for segment in run.segments:
        table.add_row(
            str(segment.number),
            clock(segment.started),
            duration((segment.ended or now) - segment.started),
            _steps_of(segment, run),
            figure(segment.device_hours),
            of_segment(segment, accounted).in_words,
            f"{segment.facts.layout_text} ({segment.facts.world_size})",
            escape(segment.host + (f" +{segment.facts.nodes - 1}" if segment.facts.nodes > 1 else "")),
            escape(segment.job or "-"),
            escape(reason_text(segment)),
        )
    console.print(table)
    if jobs and jobs.jobs:
        console.print(_jobs_table(jobs, now))
    chain = ""
    if jobs and jobs.limit:
        chain = f"chain       segment {jobs.segment} of at most {jobs.limit}\n"
    loss = "" if run.progress.loss is None else f", loss {run.progress.loss:.4f}"
    model = f"model       {run.facts.model}\n" if run.facts else ""
    used = of_run(run.segments, accounted)
    energy = "" if used.kwh is None else f"energy      {used.in_words} kWh ({used.how}: {used.source})\n"
    console.print(
        f"{model}{chain}progress    step {steps_text(run)}{loss}\nstate       {state_text(run)}, last change "
        f"{duration(now - run.changed)} ago\ndevice-hours  {figure(run.device_hours)}\n"
        f"{energy}folder      {run.dir}{_wandb(run)}",
        markup=False,
    )


def _jobs_table(jobs: RunJobs, now: float) -> Table:
    table = _table("Jobs")
    for column in ("job", "cluster", "submitted", "state", "image"):
        table.add_column(column, overflow="fold")
    for job, state in jobs.jobs:
        one = job.submission
        where = f"{one.cluster} {one.namespace}" if one.namespace else one.cluster
        by = "by the job before" if job.continues else clock(one.submitted)
        table.add_row(*map(escape, (job.id, where, by, job_text(state, now), one.image or "-")))
    return table


def _wandb(run: Overview) -> str:
    """Return a line about wandb's data; an empty text if it left none."""
    every = wandb_data.stored(run.dir)
    if not every:
        return ""
    left = sum(not one.uploaded for one in every)
    what = (
        f", {left} not uploaded: {wandb_data.how_to_upload(run.name, run.dir)}" if left else ", all uploaded"
    )
    return f"\nwandb       {len(every)} segments{what}"


def state_text(run: Overview) -> str:
    """Return a run's state in words: `running on HOST`, `stopped: signal (SIGTERM)`..."""
    if run.holder:
        return f"running on {run.holder.host}"
    return run.state + (f": {run.why}" if run.why else "")


def steps_text(run: Overview) -> str:
    """Return a run's steps as `120/200`; `-` for what is not known."""
    step = "-" if run.progress.step is None else f"{run.progress.step}"
    return f"{step}/{run.facts.steps}" if run.facts else step


def _steps_of(segment: Segment, run: Overview) -> str:
    last = segment.last_step
    if segment.reason is None and run.progress.step is not None and run.progress.step >= segment.first_step:
        last = run.progress.step
    return "none" if last is None else f"{segment.first_step}-{last}"


def _table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
