"""Ranks that hang or lag are named."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faulty_files import Rule, faulty
from processes import gone, output_of, ranks_of, started, steps_done, wait_until
from training import SMALL, layout, slipway, training_lines

LIMIT = 4.0  # seconds without progress


@pytest.fixture
def job(corpus: list[str], tmp_path: Path) -> list[str]:
    """A run on eight ranks that goes on until something happens."""
    words = [*SMALL, *corpus, *layout(ranks=8, tp=2, pp=2, sp=True, distopt=True)]
    limit = f"watch.hang_timeout_minutes={LIMIT / 60}"
    return [*words, f"run.dir={tmp_path / 'run'}", "training.steps=4000", limit]


@pytest.mark.parametrize("rank", [0, 5])
def test_a_stopped_rank_is_named_with_its_stack(
    job: list[str], tmp_path: Path, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    monkeypatch.setenv(
        "SLURMD_NODENAME", "queue1-dy-p5-1"
    )  # Slurm's name for this machine, which is not its own
    with started(job, tmp_path) as process:
        wait_until(lambda: steps_done(run_dir) >= 3, process)
        ranks = ranks_of(process)
        ranks[rank].suspend()
        stopped = time.monotonic()
        output = output_of(process, tmp_path)
        seconds = time.monotonic() - stopped
    assert process.returncode == 1, output
    assert f"first suspect rank {rank} on queue1-dy-p5-1, " in output
    assert (run_dir / "bad_nodes").read_text().startswith("queue1-dy-p5-1 hang in step ")
    assert f"pid {ranks[rank].pid}: its process is stopped" in output
    assert seconds < LIMIT + 30  # the time-out, then a word from every rank, on a loaded machine
    assert all(gone(process) for process in ranks)

    (folder,) = (run_dir / "hangs").iterdir()
    assert folder.name == "segment-0001"
    for number in range(8):
        stack = (folder / f"rank-{number:05d}.txt").read_text()
        assert "in train" in stack, f"rank {number}: {stack}"
    assert json.loads((folder / "verdict.json").read_text())["ranks"] == [rank]
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [event["ranks"] for event in events if event.get("event") == "hang"] == [[rank]]
    segment = json.loads((run_dir / "segments" / "0001.json").read_text())
    assert (segment["reason"], segment["exit_code"]) == ("failed", 1)
    assert f"rank {rank}" in segment["detail"]


def test_a_slow_rank_is_reported(corpus: list[str], tmp_path: Path) -> None:
    """A rank that is stopped most of the time, in a run where forward passes wait for nobody."""
    run_dir = tmp_path / "run"
    words = [*SMALL, *corpus, *layout(ranks=3), "training.global_batch_size=12", "training.steps=4000"]

    def reports() -> list[dict]:
        if not (run_dir / "metrics.jsonl").exists():
            return []
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if line.get("event") == "straggler"]

    with started([*words, f"run.dir={run_dir}", "watch.straggler_interval=8"], tmp_path) as process:
        wait_until(lambda: steps_done(run_dir) >= 3, process)
        slow, limit = ranks_of(process)[1], time.monotonic() + 60
        while not any(report["rank"] == 1 for report in reports()) and time.monotonic() < limit:
            slow.suspend()
            time.sleep(0.05)
            slow.resume()
            time.sleep(0.01)
        found = reports()
    assert [report["rank"] for report in found][-1] == 1
    assert " x)" in found[-1]["reason"]


# the command with shorter time-outs for collectives than anybody would wait: they must not count either
IMPATIENT = f"""
import sys
from slipway import cli
from slipway.ranks import rendezvous
rendezvous.LIMIT_SECONDS = {2 * LIMIT}
sys.exit(cli.main())
"""


def test_a_run_that_was_frozen_as_a_whole_goes_on(corpus: list[str], tmp_path: Path) -> None:
    """As by scontrol suspend, Ctrl-Z or a paused machine, for longer than any time-out; in a step, and in a save."""
    run_dir = tmp_path / "run"
    words = [*SMALL, *corpus, *layout(ranks=2, pp=2), "training.steps=60", "checkpoint.interval=30"]
    words += [f"watch.hang_timeout_minutes={LIMIT / 60}", f"checkpoint.timeout_minutes={2 * LIMIT / 60}"]
    slow = faulty([Rule("fsync", "*/checkpoints/*", delay=0.15)])

    def freeze(process: subprocess.Popen[str]) -> None:
        tree = [psutil.Process(process.pid), *ranks_of(process)]
        for one in tree:
            one.suspend()
        time.sleep(3 * LIMIT)
        for one in tree:
            one.resume()

    def saving() -> bool:
        return any(path.name.startswith(".") for path in (run_dir / "checkpoints").glob(".*step*"))

    command = [sys.executable, "-c", IMPATIENT, "train"]
    with started(
        [*words, f"run.dir={run_dir}"], tmp_path, command=command, env={**os.environ, **slow}
    ) as process:
        wait_until(lambda: steps_done(run_dir) >= 3, process)
        freeze(process)
        wait_until(saving, process)
        assert process.poll() is None, output_of(process, tmp_path)
        freeze(process)
        output = output_of(process, tmp_path)
    assert process.returncode == 0, output
    assert "SIGCONT" not in output and not (run_dir / "hangs").exists()
    undisturbed = slipway("train", *words, f"run.dir={tmp_path / 'undisturbed'}", cwd=tmp_path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    curves = [
        [(line["step"], line["loss"]) for line in training_lines(folder)]
        for folder in (run_dir, tmp_path / "undisturbed")
    ]
    assert curves[0] == curves[1]
