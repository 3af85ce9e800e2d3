"""Stopping well: few signals, one decision of all ranks, a checkpoint, exit code 75, nothing lost."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.train.stopping import Pace, Stopping, check_slice, end_time, measured_pace, reasons
from training import SMALL, layout, slipway, training_lines

STEPS = 400


@pytest.fixture
def job(corpus: list[str], tmp_path: Path) -> list[str]:
    """Overrides of a run on eight ranks that goes on for long enough to be stopped."""
    words = [*SMALL, *corpus, *layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)]
    return [*words, f"run.dir={tmp_path / 'run'}", f"training.steps={STEPS}", "logging.interval=1"]


def stop_when_running(
    job: list[str], tmp_path: Path, act: Callable[[psutil.Process], None]
) -> tuple[int, str]:
    """Start the run, act on its process once it has done three steps; exit code and output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "slipway", "train", *job],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        limit = time.monotonic() + 90
        while steps_done(tmp_path / "run") < 3 and time.monotonic() < limit and process.poll() is None:
            time.sleep(0.1)
        act(psutil.Process(process.pid))
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output


def steps_done(run_dir: Path) -> int:
    return len(training_lines(run_dir)) if (run_dir / "metrics.jsonl").exists() else 0


def ranks_of(parent: psutil.Process) -> list[psutil.Process]:
    """The eight ranks, in the order in which they were forked."""
    return sorted((p for p in parent.children() if p.cmdline() == parent.cmdline()), key=lambda p: p.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_a_signal_to_one_rank_of_eight_stops_all_at_the_same_step(
    job: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    code, output = stop_when_running(job, tmp_path, lambda run: ranks_of(run)[5].send_signal(number))
    assert code == 75, output
    assert number.name in output
    done = steps_done(tmp_path / "run")
    assert 3 <= done < STEPS
    assert (tmp_path / "run" / "checkpoints" / f"step-{done:08d}").is_dir()

    # nothing lost, nothing twice: two steps more, then compared with a run that was never stopped
    more = slipway("train", *job, f"training.stop_after_step={done + 2}", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    whole = slipway(
        "train", *job, f"training.stop_after_step={done + 2}", f"run.dir={tmp_path / 'whole'}", cwd=tmp_path
    )
    assert whole.returncode == 0, whole.stderr
    exact = [(line["step"], line["loss"], line["grad_norm"]) for line in training_lines(tmp_path / "run")]
    assert exact == [
        (line["step"], line["loss"], line["grad_norm"]) for line in training_lines(tmp_path / "whole")
    ]


def test_an_interrupt_of_the_command_stops_well(job: list[str], tmp_path: Path) -> None:
    code, output = stop_when_running(job, tmp_path, lambda run: run.send_signal(signal.SIGINT))
    assert code == 75, output
    assert "once more to end at once" in output
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) == 1


def test_a_second_interrupt_ends_at_once_and_leaves_no_rank(job: list[str], tmp_path: Path) -> None:
    ranks: list[psutil.Process] = []

    def twice(run: psutil.Process) -> None:
        ranks.extend(ranks_of(run))
        for rank in ranks:  # they cannot stop well
            rank.suspend()
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)

    code, output = stop_when_running(job, tmp_path, twice)
    assert code == 130, output
    assert len(ranks) == 8
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)


def test_wall_time(job: list[str], tmp_path: Path) -> None:
    """The trainer stops by itself before the limit, and refuses a slice that is too short, with the arithmetic."""
    started = time.monotonic()
    done = slipway("train", *job, "run.time_limit_minutes=0.5", "training.steps=100000", cwd=tmp_path)
    assert done.returncode == 75, done.stderr
    assert "wall time" in done.stdout
    assert time.monotonic() - started < 32
    steps = steps_done(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / f"step-{steps:08d}").is_dir()
    refused = slipway("train", *job, "run.time_limit_minutes=0.03", "training.steps=100000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "no progress is possible" in refused.stderr
    assert steps_done(tmp_path / "run") == steps


def test_the_earliest_end_counts() -> None:
    environment = {"SLURM_JOB_END_TIME": "2000000000", "SLIPWAY_END_TIME": "1900000000"}
    assert end_time(compose([]), {}) is None
    assert end_time(compose([]), environment) == 1900000000
    limited = end_time(compose(["run.time_limit_minutes=1"]), environment)
    assert limited is not None
    assert limited < time.time() + 60


def test_an_end_that_is_no_time() -> None:
    with pytest.raises(UserError, match="SLURM_JOB_END_TIME: 'soon' is not a time"):
        end_time(compose([]), {"SLURM_JOB_END_TIME": "soon"})


def test_over_when_another_step_would_leave_too_little_for_the_save() -> None:
    now = time.time()
    assert not Stopping(None, 10, 10).is_over()
    assert not Stopping(now + 100, save_seconds=10, step_seconds=10).is_over()
    assert Stopping(now + 25, save_seconds=10, step_seconds=10).is_over()


def test_reasons() -> None:
    assert reasons([0, 2, 0, 1]) == ["SIGTERM", "wall time"]
    assert reasons([0, 0, 0, 0]) == []


def test_pace_and_the_refused_slice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"kind": "event", "event": "start", "step": 0, "seconds": 5.0}\n'
        '{"kind": "train", "step": 1, "step_seconds": 2.0}\n'
        '{"kind": "checkpoint", "step": 1, "seconds": 3.0}\n{"kind": "tr'
    )
    pace = measured_pace(path)
    assert pace == Pace(start=5.0, step=2.0, save=3.0)
    check_slice(time.time() + 20, pace)
    check_slice(None, pace)
    with pytest.raises(UserError, match="start 5.0 s .* step 2.0 s .* save 2 x 3.0 s = 13.0 s"):
        check_slice(time.time() + 12, pace)
