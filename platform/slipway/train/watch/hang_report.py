"""What ranks know of each other when a run hangs, as files in run.dir/hangs; and who is the first suspect.

    hangs/segment-0003/rank-00005.json   a Finding          rank-00005.txt   its Python stack
    hangs/segment-0003/verdict.json      the suspect, why   (written by the first rank that has all findings)
    bad_nodes                            the first suspect's host, for the next segment to avoid

Imports no torch.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import files
from slipway.errors import Fault
from slipway.run_dir import RunDir
from slipway.runs import bad_nodes

# modules whose frame is innermost in a rank that waits for another one
_WAITING_IN = ("/torch/distributed/", "/megatron/core/pipeline_parallel/", "/torch/autograd/")
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')


class Finding(BaseModel):
    """The facts about one rank; what it did not write itself is None."""

    model_config = ConfigDict(frozen=True)

    rank: int
    host: str
    pid: int
    state: str
    """own: it wrote this itself; answers: it dumped its stack when asked; gone; else the kernel's word for it."""
    at: str
    """Innermost Python frame of its main thread."""
    step: int | None = None
    what: str | None = None
    count: int | None = None
    """Number of times that it has made progress: with less than others have, it is behind."""
    seconds: float | None = None
    """Seconds for which it has made no progress."""


class Suspect(BaseModel):
    """The verdict on a hang."""

    model_config = ConfigDict(frozen=True)

    ranks: list[int]
    """First suspect first; empty: none stands out."""
    why: str


def write(folder: Path, finding: Finding) -> None:
    """Write a finding, whole or not at all, unless the rank already has one.

    The first finding stays, but a rank that answers may still write its own. A stopped rank that was woken for its
    stack does not turn into one that was well.
    """
    known = _read(_path(folder, finding.rank))
    if known is None or known.state in ("answers", finding.state):
        files.write_whole(_path(folder, finding.rank), finding.model_dump_json() + "\n")


def has_word(folder: Path, rank: int) -> bool:
    """Return whether all that can be known of a rank is known; a rank that answers will still write its own finding."""
    finding = _read(_path(folder, rank))
    return finding is not None and finding.state != "answers" and (finding.state == "own" or bool(finding.at))


def suspect(findings: Sequence[Finding], hosts: Mapping[int, str]) -> Suspect:
    """Return the ranks that keep the others waiting, and why.

    hosts: of every rank; findings: of those that somebody knows of.
    """
    known = {finding.rank for finding in findings}
    silent = [f for f in findings if f.state not in ("own", "answers")]
    if silent:
        return Suspect(ranks=[f.rank for f in silent], why=f"its process is {silent[0].state}")
    if unheard := sorted(hosts.keys() - known):
        names = ", ".join(sorted({hosts[rank] for rank in unheard}))
        return Suspect(ranks=unheard, why=f"no word from {len(unheard)} ranks on {names}")
    stuck = [f for f in findings if f.state == "answers"]
    if stuck:
        return Suspect(ranks=[f.rank for f in stuck], why="Python is stuck in it: it answers only a signal")
    counts = [f.count or 0 for f in findings]
    behind = [f for f in findings if (f.count or 0) < max(counts)]
    if behind:
        first = min(behind, key=lambda f: f.count or 0)
        return Suspect(ranks=[first.rank], why=f"it is behind the others: step {first.step}, {first.what}")
    busy = [f for f in findings if not any(place in f.at for place in _WAITING_IN)]
    if busy and len(busy) < len(findings):
        return Suspect(ranks=[f.rank for f in busy], why="it waits for nobody, the others do")
    return Suspect(ranks=[], why="no rank stands out: all wait")


def conclude(run_dir: Path, folder: Path, hosts: Mapping[int, str], step: int, now: float) -> Fault | None:
    """Name the suspect: write verdict.json and an event into metrics.jsonl; return it as a Fault.

    Returns None if another rank has done so.
    """
    try:
        descriptor = os.open(folder / "verdict.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    found = [_read(path) for path in sorted(folder.glob("rank-*.json"))]
    findings = [finding for finding in found if finding]
    verdict = suspect(findings, hosts)
    with os.fdopen(descriptor, "w") as file:
        file.write(verdict.model_dump_json(indent=1) + "\n")
    fault = _fault(verdict, {f.rank: f for f in findings}, hosts, folder)
    event = {"kind": "event", "time": now, "step": step, "event": "hang", "ranks": verdict.ranks}
    with contextlib.suppress(OSError):  # the line for people must not be lost with it
        files.append(RunDir(run_dir).metrics, json.dumps(event | {"reason": str(fault)}))
    if verdict.ranks:  # the launcher can start the run again without that node
        with contextlib.suppress(OSError):
            bad_nodes.add(run_dir, hosts[verdict.ranks[0]], f"hang in step {step}: {verdict.why}")
    return fault


def innermost(stack: str) -> str:
    """Return the innermost frame of the main thread in faulthandler's text, in which that thread comes last."""
    threads = [part for part in re.split(r"\n\s*\n", stack) if part.strip()]
    match = _FRAME.search(threads[-1]) if threads else None
    return f"{match[1]}:{match[2]} in {match[3]}" if match else ""


def _fault(
    verdict: Suspect, findings: Mapping[int, Finding], hosts: Mapping[int, str], folder: Path
) -> Fault:
    waited = max((f.seconds for f in findings.values() if f.seconds), default=0.0)
    steps = [f.step for f in findings.values() if f.step is not None]
    step, stalled = f"step {max(steps, default=0)}", f"no progress for {waited:.0f} s"
    advice = "if steps take this long, raise watch.hang_timeout_minutes"
    if not verdict.ranks:
        return Fault(step, f"{stalled}: {verdict.why}; every rank's stack is in {folder}", do=advice)
    rank = verdict.ranks[0]
    finding = findings.get(rank)
    process = f", pid {finding.pid}" if finding else ""
    at = f", at {finding.at}" if finding and finding.at else ""
    more = f" (and ranks {', '.join(map(str, verdict.ranks[1:9]))})" if len(verdict.ranks) > 1 else ""
    return Fault(
        step,
        f"{stalled}: first suspect rank {rank} on {hosts[rank]}{process}{more}: {verdict.why}{at}; "
        f"every rank's stack is in {folder}",
        do=advice,
    )


def _path(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank:05d}.json"


def _read(path: Path) -> Finding | None:
    try:
        return Finding.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
