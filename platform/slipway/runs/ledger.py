"""The ledger of a run: one record per segment, run.dir/segments/NNNN.json. A segment is one start of the trainer."""

import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import __version__, files
from slipway.energy.record import Energy
from slipway.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError
from slipway.plan.facts import Facts
from slipway.records import first_problem
from slipway.run_dir import RunDir
from slipway.runs.lock.holder import Holder
from slipway.runs.progress import Progress, read_progress

Reason = Literal[
    "finished", "stop_after_step", "signal", "wall time", "failed", "user error", "interrupted", "lost"
]


class Segment(BaseModel):
    """The record of one start of the trainer. Times are Unix seconds."""

    model_config = ConfigDict(frozen=True)

    number: int
    """The segment's number, from 1."""
    facts: Facts
    started: float
    updated: float
    """The last sign of life that was written here."""
    ended: float | None = None
    """The end; None: it was not closed; see read_segments."""
    host: str
    pid: int
    job: str | None
    node_list: str | None
    """The scheduler's name for the nodes."""
    versions: dict[str, str | None]
    kernels: dict[str, str] = {}
    """The backend of each operator."""
    switches: dict[str, bool | int | str] = {}
    """Settings that affect speed and no result (see slipway.plan.switches)."""
    first_step: int
    """The step that it was to begin with."""
    last_step: int | None = None
    """The last step that it finished; None: no step."""
    reason: Reason | None = None
    detail: str | None = None
    """The trainer's own words: the signals' names, or the line with which it failed."""
    exit_code: int | None = None
    energy: Energy | None = None
    """The energy that counters measured up to the last step; None: no counters."""

    @property
    def device_hours(self) -> float:
        """Devices x hours from the start to the end, or the last sign of life."""
        end = self.updated if self.ended is None else self.ended
        return self.facts.world_size * max(0.0, end - self.started) / 3600


def begin_segment(
    run_dir: Path,
    facts: Facts,
    holder: Holder,
    first_step: int,
    started: float,
    environment: Mapping[str, str],
    kernels: Mapping[str, str] | None = None,
    switches: Mapping[str, bool | int | str] | None = None,
) -> Segment:
    """Write the next segment's record, close those that nobody closed, and return it. The caller has locked the run."""
    for segment in read_segments(
        run_dir, alive=False, tell=lambda line: print(f"{line}; left as it is", flush=True)
    ):
        if segment.reason == "lost":
            write(run_dir, segment)  # now: the lines of its undone steps are about to be removed
    segment = Segment(
        number=newest_number(run_dir) + 1,
        facts=facts,
        started=started,
        updated=time.time(),
        host=holder.host,
        pid=holder.pid,
        job=holder.job,
        node_list=environment.get("SLURM_JOB_NODELIST"),
        versions={"slipway": __version__, **{name: _version(name) for name in ("torch", "megatron-core")}},
        kernels=dict(kernels or {}),
        switches=dict(switches or {}),
        first_step=first_step,
    )
    write(run_dir, segment)
    return segment


def continue_segment(run_dir: Path, segment: Segment, now: float) -> Segment:
    """Record that the segment lives, and how far it is. Return the new record."""
    segment = segment.model_copy(update={"updated": now, **_so_far(segment, read_progress(run_dir))})
    write(run_dir, segment)
    return segment


def end_segment(
    run_dir: Path, segment: Segment, exit_code: int, now: float, told: str | None = None
) -> Segment:
    """Close the record: when, after which step and why the segment ended. Return the new record.

    told: the line with which it failed.
    """
    progress = read_progress(run_dir)
    reason, detail = why_ended(exit_code, progress, segment.facts.steps)
    if exit_code == EXIT_CONTINUE and told:  # before a step: what the progress tells is an earlier segment's
        reason, detail = "signal", told
    segment = segment.model_copy(
        update={
            "updated": now,
            "ended": now,
            **_so_far(segment, progress),
            "reason": reason,
            "detail": detail or told,
            "exit_code": exit_code,
        }
    )
    write(run_dir, segment)
    return segment


def why_ended(exit_code: int, progress: Progress, steps: int | None) -> tuple[Reason, str | None]:
    """Return (reason, detail) from the trainer's exit code and its last metrics. steps: those of the whole run."""
    if exit_code == EXIT_DONE:
        whole = steps is None or (progress.step or 0) >= steps
        return ("finished" if whole else "stop_after_step"), None
    if exit_code == EXIT_CONTINUE:
        return ("wall time", None) if progress.stop == "wall time" else ("signal", progress.stop)
    if exit_code == EXIT_USER_ERROR:
        return "user error", None
    return ("interrupted" if exit_code == EXIT_INTERRUPTED else "failed"), None


def read_segments(run_dir: Path, alive: bool, tell: Callable[[str], object] = print) -> list[Segment]:
    """Return a run's segments in order. alive: a process holds the run, so the newest may still be under way.

    A record that nobody closed is shown as lost, with the last sign of life as its end. tell: called with a line
    about each record that cannot be read or is not a record; such a record does not stop a run.
    """
    segments = []
    for path in _files(run_dir):
        try:
            segments.append(_read(path))
        except (UserError, files.Unreadable) as error:
            tell(str(error))
    return _closed(run_dir, segments, alive)


def newest_number(run_dir: Path) -> int:
    """Return how many segments the run has had; 0: none. Raises Unreadable, so that no number is ever given twice."""
    return max((int(path.stem) for path in _files(run_dir)), default=0)


def write(run_dir: Path, segment: Segment) -> None:
    """Write a record, whole or not at all."""
    folder = RunDir(run_dir).segments
    files.make_folder(folder)
    files.write_whole(folder / f"{segment.number:04d}.json", segment.model_dump_json(indent=1) + "\n")


def _files(run_dir: Path) -> list[Path]:
    folder = RunDir(run_dir).segments
    found = [folder / name for name in files.names(folder) if name.endswith(".json")]
    return sorted((path for path in found if path.stem.isdecimal()), key=lambda path: int(path.stem))


def _closed(run_dir: Path, segments: list[Segment], alive: bool) -> list[Segment]:
    """Return the records, with those that nobody closed as lost; alive: the newest is still under way."""
    newest = segments[-1].number if segments else 0
    under_way = {newest} if alive else set()
    closed = []
    for segment in segments:
        if segment.ended is None and segment.number not in under_way:
            segment = _lost(segment, read_progress(run_dir) if segment.number == newest else Progress())
        closed.append(segment)
    return closed


def _lost(segment: Segment, progress: Progress) -> Segment:
    known = _so_far(segment, progress)
    seen = progress.time if known["last_step"] == progress.step and progress.time else segment.updated
    ended = max(segment.updated, seen)
    return segment.model_copy(update={"reason": "lost", "ended": ended, **known})


def _so_far(segment: Segment, progress: Progress) -> dict[str, Any]:
    """Return the last recorded step and the energy until then if this segment did the step, else the record's own."""
    step, when = progress.step, progress.time
    if step is None or step < segment.first_step or (when is not None and when < segment.started):
        return {"last_step": segment.last_step, "energy": segment.energy}
    return {"last_step": step, "energy": progress.energy or segment.energy}


def _read(path: Path) -> Segment:
    content = files.read(path)
    if content is None:
        raise UserError(path, "no longer exists", do="run the same command again to start anew")
    try:
        return Segment.model_validate_json(content)
    except ValidationError as error:
        raise UserError(
            path,
            f"is not a segment's record: {first_problem(error)}",
            do="remove it, or use the version of Slipway that wrote it",
        ) from error


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def as_json(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON, for programs: the record as it is stored, and its device-hours."""
    return {**segment.model_dump(mode="json"), "device_hours": segment.device_hours}
