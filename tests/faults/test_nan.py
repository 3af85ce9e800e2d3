"""NaN and loss spikes from the data: all ranks decide the same, and what is left out is on record."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from training import SMALL, layout, training_lines

POISON = Path(__file__).with_name("poison.py")
STEPS, BATCH, BAD_STEP = 10, 8, 6
RANK = 6  # last stage, second replica: it reads every second sample
NUMBER = (BAD_STEP - 1) * BATCH + 1
SETTINGS = [
    *layout(ranks=8, tp=2, pp=2, sp=True, distopt=True, grad_overlap=True, param_overlap=True),
    f"training.steps={STEPS}",
    "checkpoint.interval=4",
    "checkpoint.keep_last=null",
    "guard.spike_window=8",
]
Jobs = Sequence[Sequence[str]]
Run = Callable[[dict[str, Any], Jobs], tuple[list[int], str]]


@pytest.fixture(scope="module")
def train(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train with poisoned data; exit codes and what was said."""

    def run(poison: dict[str, Any], jobs: Jobs) -> tuple[list[int], str]:
        codes = tmp_path_factory.mktemp("codes") / "codes.json"
        words = [[*SMALL, *corpus, *SETTINGS, *job] for job in jobs]
        done = subprocess.run(
            [sys.executable, str(POISON), str(codes)],
            input=json.dumps(poison) + "\n" + json.dumps(words),
            capture_output=True,
            text=True,
            timeout=250,
            cwd=POISON.parent,
            env={"PYTHONPATH": str(POISON.parent.parent), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(codes.read_text()), done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def root(train: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training under each policy, and without the poison."""
    root = tmp_path_factory.mktemp("nan")
    policies = ("stop", "skip", "rollback")
    jobs = [[f"run.dir={root / policy}", f"guard.on_nonfinite={policy}"] for policy in policies]
    codes, said = train({"rank": RANK, "numbers": [NUMBER], "what": "nan"}, jobs)
    assert codes == [1, 0, 0], said
    (root / "said").write_text(said)
    codes, said = train({"rank": RANK, "numbers": [], "what": "nan"}, [[f"run.dir={root / 'clean'}"]])
    assert codes == [0], said
    return root


def curve(run_dir: Path) -> list[tuple]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in training_lines(run_dir)]


def events(run_dir: Path, name: str) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("event") == name]


def info(run_dir: Path, step: int) -> dict:
    return json.loads((run_dir / "checkpoints" / f"step-{step:08d}" / "slipway.json").read_text())


def test_stop_ends_before_the_update_with_a_line_and_a_good_checkpoint(root: Path) -> None:
    run_dir = root / "stop"
    assert curve(run_dir) == curve(root / "clean")[: BAD_STEP - 1]
    (event,) = events(run_dir, "guard stop")
    assert f"step {BAD_STEP}: loss nan" in event["reason"]
    assert f"first on rank {RANK}" in event["reason"]
    assert event["reason"] in (root / "said").read_text()
    assert sorted(path.name for path in (run_dir / "checkpoints").glob("step-*")) == ["step-00000004"]


def test_skip_makes_no_update_from_the_batch(root: Path) -> None:
    run_dir = root / "skip"
    lines = training_lines(run_dir)
    assert [line["step"] for line in lines if not line["updated"]] == [BAD_STEP]
    assert lines[BAD_STEP - 1]["loss"] is None
    assert curve(run_dir)[: BAD_STEP - 1] == curve(root / "clean")[: BAD_STEP - 1]
    assert all(line["loss"] is not None for line in lines[BAD_STEP:])
    (event,) = events(run_dir, "skip")
    assert event["step"] == BAD_STEP
    assert f"first on rank {RANK}" in event["reason"]
    end = info(run_dir, STEPS)
    assert (end["updates"], end["data"]["phases"][0]["consumed"]) == (STEPS - 1, {"files": STEPS * BATCH})


def test_rollback_leaves_the_batch_out_and_repeats_the_rest_exactly(root: Path) -> None:
    run_dir = root / "rollback"
    clean, found = curve(root / "clean"), curve(run_dir)
    assert len(found) == STEPS
    assert found[: BAD_STEP - 1] == clean[: BAD_STEP - 1]
    assert found[BAD_STEP - 1] != clean[BAD_STEP - 1]
    (event,) = events(run_dir, "rollback")
    assert (event["step"], event["at_step"]) == (4, BAD_STEP)
    assert event["samples_left_out"] == [(BAD_STEP - 1) * BATCH, BAD_STEP * BATCH]
    end = info(run_dir, STEPS)
    assert (end["updates"], end["data"]["phases"][0]["consumed"]) == (STEPS, {"files": (STEPS + 1) * BATCH})


def test_a_skip_is_continued_exactly(root: Path, train: Run) -> None:
    """Fewer updates than steps: Adam's own count goes on where it was."""
    poison = {"rank": RANK, "numbers": [NUMBER], "what": "nan"}
    job = [f"run.dir={root / 'half'}", "guard.on_nonfinite=skip"]
    codes, said = train(poison, [[*job, "training.stop_after_step=8"], job])
    assert codes == [0, 0], said
    assert curve(root / "half") == curve(root / "skip")


def test_a_spike_on_all_ranks_is_left_out(root: Path, train: Run) -> None:
    numbers = list(range((STEPS - 1) * BATCH, STEPS * BATCH))
    job = [f"run.dir={root / 'spike'}", "guard.on_spike=skip", "guard.spike_deviations=1"]
    codes, said = train({"rank": None, "numbers": numbers, "what": "spike"}, [job])
    assert codes == [0], said
    (event,) = events(root / "spike", "skip")
    assert event["step"] == STEPS
    assert "is above" in event["reason"]
