"""Real trainings: two starts of one run, a run that is killed whole and started again."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from training import SMALL, layout, slipway, told, training_lines

ENDLESS = 1_000_000


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """Overrides of a run in tmp_path/runs/alpha that two ranks would train for days."""
    text = Path(json.__file__).with_name("decoder.py")
    overrides = [
        *SMALL,
        "data=files",
        f"data.sources.files.inputs=[{text}]",
        "data.tokenizer.kind=byte",
        f"data.dir={tmp_path / 'prepared'}",
        "run.name=alpha",
        f"training.steps={ENDLESS}",
        *layout(ranks=2),
    ]
    assert slipway("data", *overrides, cwd=tmp_path).returncode == 0
    return overrides


def wait_for_steps(run_dir: Path, steps: int, process: subprocess.Popen) -> None:
    limit = time.monotonic() + 150
    while not (run_dir / "metrics.jsonl").exists() or len(training_lines(run_dir)) < steps:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.1)


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def shown(tmp_path: Path) -> dict:
    done = slipway("runs", "show", "alpha", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(280)
def test_a_second_start_is_refused_and_a_killed_run_starts_again_at_once(
    job: list[str], tmp_path: Path
) -> None:
    run_dir = tmp_path / "runs" / "alpha"
    first = subprocess.Popen(
        [sys.executable, "-m", "slipway", "train", *job],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_steps(run_dir, 1, first)
        ranks = psutil.Process(first.pid).children()

        second = slipway("train", *job, cwd=tmp_path)
        assert (second.returncode, second.stdout) == (2, "")
        [line] = told(second.stderr)
        assert "is being trained by" in line and f"pid {first.pid}" in line
        before = training_lines(run_dir)[-1]["step"]
        wait_for_steps(run_dir, before + 2, first)  # the first goes on

        run = shown(tmp_path)
        assert (run["state"], run["holder"]["pid"]) == ("running", first.pid)
        assert [segment["reason"] for segment in run["segments"]] == [None]
    finally:
        first.kill()
        assert first.stderr is not None
        errors = first.stderr.read()  # ends when the last rank does: they end with their parent
        first.wait(20)
    assert told(errors) == []
    limit = time.monotonic() + 10
    while any(lives(rank) for rank in ranks):
        assert time.monotonic() < limit
        time.sleep(0.05)
    done_steps = training_lines(run_dir)[-1]["step"]
    assert shown(tmp_path)["state"] == "lost"

    again = slipway("train", *job, "training.stop_after_step=1", cwd=tmp_path)
    assert (again.returncode, told(again.stderr)) == (0, [])
    assert "taken over" not in again.stdout and "waiting" not in again.stdout
    run = shown(tmp_path)
    lost, stopped = run["segments"]
    assert (lost["reason"], lost["exit_code"], lost["first_step"]) == ("lost", None, 1)
    assert lost["last_step"] == done_steps
    assert (stopped["reason"], stopped["exit_code"]) == ("stop_after_step", 0)
    assert (stopped["first_step"], stopped["last_step"]) == (1, 1)  # there was no checkpoint
    assert (run["state"], run["step"]) == ("stopped", 1)
    assert run["device_hours"] == pytest.approx(
        sum(2 * (segment["ended"] - segment["started"]) / 3600 for segment in run["segments"])
    )
