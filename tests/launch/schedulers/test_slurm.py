"""What squeue and sacct print, in states. The real squeue: tests/runs/test_launched_slurm.py.

The lines of sacct are as its manual gives them: the test cluster keeps no accounts.
"""

import os
from pathlib import Path

import pytest

from slipway.launch.schedulers import asking, slurm
from slipway.launch.schedulers.asking import SchedulerUnavailable, ask


def queued(job: str, state: str, **more: str) -> str:
    values = {
        "Reason": "None",
        "StartTime": "N/A",
        "EndTime": "N/A",
        "RestartCnt": "0",
        "exit_code": "0",
        **more,
    }
    row = {"JobArrayID": job, "State": state, "Name": "alpha", **values}
    return "".join(row.get(name, "").ljust(width) for name, width in slurm.COLUMNS.items())


@pytest.mark.parametrize(
    ("line", "word", "detail"),
    [
        (queued("7", "PENDING", Reason="Priority"), "pending", "Priority"),
        (queued("7", "PENDING", Reason="BeginTime", RestartCnt="2"), "requeued", "BeginTime"),
        (queued("7", "REQUEUE_HOLD"), "requeued", "requeue_hold"),
        (queued("7", "CONFIGURING"), "pending", "configuring"),
        (queued("7", "SUSPENDED"), "pending", "suspended"),
        (queued("7", "RUNNING"), "running", ""),
        (queued("7", "COMPLETING"), "running", "ending"),
        (queued("7", "COMPLETED"), "finished", ""),
        (queued("7", "CANCELLED"), "cancelled", ""),
        (queued("7", "FAILED", exit_code="19200", Reason="NonZeroExitCode"), "stopped", "to continue"),
        (queued("7", "FAILED", exit_code="512", Reason="NonZeroExitCode"), "failed", "exit code 2"),
        (queued("7", "FAILED", Reason="JobLaunchFailure"), "failed", "JobLaunchFailure"),
        (queued("7", "NODE_FAIL", exit_code="1"), "failed", "node fail"),
        (queued("7", "TIMEOUT"), "failed", "timeout"),
        (queued("7", "OUT_OF_MEMORY"), "failed", "out of memory"),
        (queued("7", "PREEMPTED"), "failed", "preempted"),
        (queued("7", "A_STATE_OF_LATER"), "failed", "a state of later"),
    ],
)
def test_the_queue(line: str, word: str, detail: str) -> None:
    ((state, name),) = slurm.read_squeue(f"{line}\n\n").values()
    assert (state.word, state.detail, name) == (word, detail, "alpha")


def test_times_nodes_and_arrays() -> None:
    lines = [
        queued("12_3", "RUNNING", StartTime="1700000000", EndTime="1700003600", NodeList="n[1-2]"),
        queued("13", "PENDING", StartTime="1700009999", NodeList="(null)"),
    ]
    found = slurm.read_squeue("\n".join(lines))
    running, waiting = found["12_3"][0], found["13"][0]
    assert (running.start, running.end, running.nodes) == (1700000000, 1700003600, "n[1-2]")
    assert (waiting.start, waiting.end, waiting.nodes) == (1700009999, None, "")
    assert slurm.squeue_command(["12_3", "12_4", "13"])[4] == "--jobs=12,13"


@pytest.mark.parametrize(
    ("line", "word", "detail"),
    [
        ("7|COMPLETED|1700000000|1700003600|0:0|n1|alpha", "finished", ""),
        ("7|CANCELLED by 1000|1700000000|1700003600|0:15|n1|alpha", "cancelled", ""),
        ("7|FAILED|1700000000|1700003600|75:0|n1|alpha", "stopped", "to continue"),
        ("7|FAILED|1700000000|1700003600|1:0|n1|alpha", "failed", "exit code 1"),
        ("7|NODE_FAIL|1700000000|1700003600|1:0|n1|a|b", "failed", "node fail"),
    ],
)
def test_accounts(line: str, word: str, detail: str) -> None:
    ((state, name),) = slurm.read_sacct(f"{line}\n").values()
    assert (state.word, state.detail, state.end) == (word, detail, 1700003600)
    assert name in ("alpha", "a|b")


@pytest.mark.parametrize(
    "banner", ["", "*** Welcome: 3rd of May | maintenance | 10:00 | 12:00 | x | y | z ***", "7 of 8 nodes"]
)
def test_a_sites_banner_is_no_job(banner: str) -> None:
    for read, line in (
        (slurm.read_squeue, queued("7", "RUNNING", exit_code="3rd")),
        (slurm.read_sacct, "7|FAILED|1700000000|1700003600|x:0|n1|alpha"),
    ):
        assert list(read(f"{banner}\n{line}\n{banner}\n")) == ["7"]
        assert list(read(f"{banner.ljust(900, 'x')}\n")) == []


def test_a_program_that_hangs_fails_or_is_missing(tmp_path: Path, monkeypatch) -> None:
    for name, text in (
        ("hangs", "sleep 60"),
        ("fails", "echo one >&2; echo two >&2; exit 3"),
        ("says", "env"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SQUEUE_USERS", "somebody")
    with pytest.raises(SchedulerUnavailable, match="hangs did not answer in 0 s"):
        ask(["hangs"], seconds=0.2)
    with pytest.raises(SchedulerUnavailable, match="^fails: two$"):
        ask(["fails"])
    with pytest.raises(SchedulerUnavailable, match="^not-there not found$"):
        ask(["not-there"])
    answer = ask(["says"], {"SLURM_TIME_FORMAT": "%s"})
    assert "SLURM_TIME_FORMAT=%s" in answer and "SQUEUE_USERS" not in answer


def test_without_squeue_the_state_is_unknown(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (state,) = slurm.states({"7": "alpha"}).values()
    assert (state.word, state.detail) == ("unknown", "squeue not found")
    assert slurm.states({}) == {} and asking.SECONDS == 10.0
