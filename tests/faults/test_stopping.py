"""Stopping well: few signals, one decision of all ranks, a checkpoint, exit code 75, nothing lost."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from processes import gone, handles, output_of, ranks_of, started, steps_done, wait_until
from training import SMALL, layout, slipway, training_lines

STEPS = 400


@pytest.fixture
def job(corpus: list[str], tmp_path: Path) -> list[str]:
    """Overrides of a run on eight ranks that goes on for long enough to be stopped."""
    words = [*SMALL, *corpus, *layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)]
    return [*words, f"run.dir={tmp_path / 'run'}", f"training.steps={STEPS}", "logging.interval=1"]


def stop_when_running(
    job: list[str], tmp_path: Path, act: Callable[[subprocess.Popen[str]], None]
) -> tuple[int, str]:
    """Start the run, act on it once it has done three steps; exit code and output."""
    with started(job, tmp_path) as process:
        wait_until(lambda: steps_done(tmp_path / "run") >= 3, process)
        act(process)
        output = output_of(process, tmp_path)
    return process.returncode, output


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


def test_a_warning_while_the_ranks_start_is_kept_for_them(job: list[str], tmp_path: Path) -> None:
    """Slurm's, of a job whose time is nearly over when it begins: a step and a checkpoint, not an end by SIGUSR1."""
    with started(job, tmp_path) as process:
        wait_until(lambda: handles(process, signal.SIGUSR1), process)
        assert not ranks_of(process), "too late to show anything"
        process.send_signal(signal.SIGUSR1)
        output = output_of(process, tmp_path)
    assert process.returncode == 75, output
    assert "SIGUSR1" in output and steps_done(tmp_path / "run") == 1
    assert (tmp_path / "run" / "checkpoints" / "step-00000001").is_dir()


def test_an_interrupt_of_the_command_stops_well(job: list[str], tmp_path: Path) -> None:
    code, output = stop_when_running(job, tmp_path, lambda run: run.send_signal(signal.SIGINT))
    assert code == 75, output
    assert "once more to end at once" in output
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) == 1


def test_a_second_interrupt_ends_at_once_and_leaves_no_rank(job: list[str], tmp_path: Path) -> None:
    ranks: list[psutil.Process] = []

    def twice(run: subprocess.Popen[str]) -> None:
        ranks.extend(ranks_of(run))
        for rank in ranks:  # they cannot stop well
            rank.suspend()
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)

    code, output = stop_when_running(job, tmp_path, twice)
    assert code == 130, output
    assert len(ranks) == 8
    assert all(gone(rank) for rank in ranks)


def test_wall_time(job: list[str], tmp_path: Path) -> None:
    """The trainer stops by itself before the limit, and refuses a slice that is too short, with the arithmetic."""
    started = time.monotonic()
    done = slipway("train", *job, "run.time_limit_minutes=0.5", "training.steps=100000", cwd=tmp_path)
    assert done.returncode == 75, done.stderr
    assert "wall time" in done.stdout
    assert time.monotonic() - started < 32
    steps = steps_done(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / f"step-{steps:08d}").is_dir()
    # what was measured once refuses nothing: a start and a save more
    again = slipway("train", *job, f"training.stop_after_step={steps + 1}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    short = [*job, "run.time_limit_minutes=0.03", "training.steps=100000"]
    refused = slipway("train", *short, cwd=tmp_path)
    assert refused.returncode == 2
    assert "slipway: run.time_limit_minutes or the job's end: " in refused.stderr
    assert steps_done(tmp_path / "run") == steps + 1
    # an estimate is no fact: the next start is tried, and does what it can
    tried = slipway("train", *short, cwd=tmp_path)
    assert tried.returncode == 75, tried.stderr
    assert steps_done(tmp_path / "run") == steps + 2
