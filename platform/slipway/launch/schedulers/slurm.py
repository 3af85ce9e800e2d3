"""States of Slurm jobs: one call of squeue for those in the queue, one of sacct for the others.

The programs' own columns of fixed width are read, which are the same from Slurm 20.11 on; their JSON changed its form
between 22.05 and 24.11 and needs a plug-in that some sites leave out.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from slipway.errors import EXIT_CONTINUE
from slipway.launch.schedulers.asking import SchedulerUnavailable, ask
from slipway.launch.schedulers.job_state import JobState, Word

COLUMNS = {
    "JobArrayID": 40,
    "State": 24,
    "Reason": 60,
    "StartTime": 32,
    "EndTime": 32,
    "RestartCnt": 10,
    "exit_code": 12,
    "NodeList": 200,
    "Name": 256,
}
PAST_COLUMNS = ("JobID", "State", "Start", "End", "ExitCode", "NodeList", "JobName")

ENDING = "ending"  # still in the queue, but too late to cancel

CLOCKS = 60.0  # seconds by which the controller's clock may be behind
_JOB = re.compile(r"\d+([_+]\S+)?")
_EPOCH = {"SLURM_TIME_FORMAT": "%s"}  # times as Unix seconds
_WORDS: Mapping[str, Word] = {
    "PENDING": "pending",
    "CONFIGURING": "pending",
    "SUSPENDED": "pending",
    "STOPPED": "pending",
    "REQUEUED": "requeued",
    "REQUEUE_HOLD": "requeued",
    "REQUEUE_FED": "requeued",
    "SPECIAL_EXIT": "requeued",
    "RUNNING": "running",
    "COMPLETING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "RESIZING": "running",
    "COMPLETED": "finished",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
}  # all others: failed


def squeue_command(ids: Iterable[str] = (), name: str | None = None) -> list[str]:
    """Return one squeue command for all ids; an array is asked for as a whole.

    name: ask for the user's jobs of that name instead.
    """
    columns = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    which = ["--me", f"--name={name}"] if name else [f"--jobs={_bases(ids)}"]
    return ["squeue", "--noheader", "--states=all", "--array", *which, f"--Format={columns}"]


def sacct_command(ids: Iterable[str]) -> list[str]:
    """Return one sacct command for all ids."""
    columns = ",".join(PAST_COLUMNS)
    return [
        "sacct",
        "--noheader",
        "--allocations",
        "--parsable2",
        f"--jobs={_bases(ids)}",
        f"--format={columns}",
    ]


def states(jobs: Mapping[str, str | None], past: bool = True) -> dict[str, JobState]:
    """Return the states of jobs by id. jobs: ids, each with the job's name (None: any name).

    past: ask sacct for jobs that have left the queue. A job of another name is unknown: it belongs to another
    cluster, whose record came here with its directory.
    """
    if not jobs:
        return {}
    try:
        found = read_squeue(_queue(jobs))
    except SchedulerUnavailable as silent:
        return dict.fromkeys(jobs, JobState("unknown", str(silent)))
    gone = [job for job in jobs if job not in found]
    why = ""
    if gone and past:
        try:
            found |= {
                job: row for job, row in read_sacct(ask(sacct_command(gone), _EPOCH)).items() if job in gone
            }
        except SchedulerUnavailable as silent:
            why = f"; {silent}"
    left = JobState("ended", f"no longer in the queue{why}")
    return {job: _own(found[job], name) if job in found else left for job, name in jobs.items()}


def named(name: str | None) -> JobState:
    """Return the state of the job in the queue that has this name, for a submission whose number is not known."""
    try:
        found = read_squeue(ask(squeue_command(name=name or "?"), _EPOCH))
    except SchedulerUnavailable as silent:
        return JobState("unknown", str(silent))
    alive = [state for state, _ in found.values() if state.alive]
    if not alive:
        return JobState("ended", "no longer in the queue")
    return replace(alive[-1], detail=f"of unknown number (squeue --me --name={name})")


def newest(name: str, since: float) -> str | None:
    """Return the number of the newest job of this name that was submitted after `since`; None if none is found.

    since: Unix seconds; the controller's clock may be up to CLOCKS behind.
    """
    command = ["squeue", "--noheader", "--states=all", "--me", f"--name={name}", "--format=%F %V"]
    try:
        rows = re.findall(r"^\s*(\d+) (\d+)\s*$", ask(command, _EPOCH), re.MULTILINE)
    except SchedulerUnavailable:
        return None
    return max((job for job, time in rows if int(time) >= since - CLOCKS), key=int, default=None)


def read_squeue(text: str) -> dict[str, tuple[JobState, str]]:
    """Return (state, name) by id, from the output of squeue_command."""
    found = {}
    for line in text.splitlines():
        row, at = {}, 0
        for name, width in COLUMNS.items():
            row[name] = line[at : at + width].strip()
            at += width
        if _JOB.fullmatch(row["JobArrayID"]):  # other lines are added by the site
            found[row["JobArrayID"]] = _state(row), row["Name"]
    return found


def read_sacct(text: str) -> dict[str, tuple[JobState, str]]:
    """Return (state, name) by id, from the output of sacct_command."""
    found = {}
    for line in text.splitlines():
        cells = line.split("|", len(PAST_COLUMNS) - 1)
        if len(cells) == len(PAST_COLUMNS) and _JOB.fullmatch(cells[0]):
            row = dict(zip(PAST_COLUMNS, cells, strict=True))
            row |= {"StartTime": row["Start"], "EndTime": row["End"], "exit_code": row["ExitCode"]}
            found[row["JobID"]] = _state(row), row["JobName"]
    return found


def _queue(ids: Collection[str]) -> str:
    try:
        return ask(squeue_command(ids), _EPOCH)
    except SchedulerUnavailable as silent:
        if "Invalid job id" in str(silent):  # squeue's message if it knows none of them
            return ""
        raise


def _state(row: Mapping[str, str]) -> JobState:
    kind = row["State"].split(" ")[0]  # `CANCELLED by 1000`
    word: Word = _WORDS.get(kind, "failed")
    restarts = _number(row.get("RestartCnt", "")) or 0
    reason = row.get("Reason", "")
    code = _number(row["exit_code"].split(":")[0]) or 0
    code = code >> 8 if code > 255 else code  # squeue gives wait(2)'s status
    if word == "pending" and restarts:
        word = "requeued"
    if word == "failed" and code == EXIT_CONTINUE:
        word = "stopped"
    detail = "" if reason in ("None", "(null)", "") else reason
    if word in ("pending", "requeued") and kind not in ("PENDING", "REQUEUED"):
        detail = kind.lower()
    if kind == "COMPLETING":
        detail = ENDING
    if word == "failed":
        detail = (
            kind.lower().replace("_", " ") if kind != "FAILED" else f"exit code {code}" if code else detail
        )
    if word in ("stopped", "finished", "cancelled"):
        detail = "to continue" if word == "stopped" else ""
    nodes = row.get("NodeList", "")
    return JobState(
        word=word,
        detail=detail,
        start=_number(row["StartTime"]),
        end=_number(row["EndTime"]),
        nodes="" if nodes in ("(null)", "None assigned", "None") else nodes,
        restarts=restarts,
    )


def _own(found: tuple[JobState, str], name: str | None) -> JobState:
    state, its_name = found
    if name is None or name == its_name:
        return state
    return JobState("unknown", f"the job of this number here is {its_name}, not {name}")


def _bases(ids: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(one.split("_")[0] for one in ids))


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
