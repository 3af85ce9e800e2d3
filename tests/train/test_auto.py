"""parallelism=auto trains, and a run that is continued stays with the layout that it began with."""

import json
from pathlib import Path

import pytest

from training import SMALL, layout, slipway, training_lines

# Two microbatches for each of four ranks; the recipe's microbatch is left open.
JOB = [word for word in SMALL if not word.startswith("training.micro_batch_size")]
AUTO = ["parallelism=auto", *layout(ranks=4), "training.steps=4"]


@pytest.mark.timeout(300)
def test_a_continued_run_is_not_searched_again(corpus: list[str], tmp_path: Path) -> None:
    job = [*JOB, *corpus, *AUTO, f"run.dir={tmp_path / 'run'}"]
    fixed = ["parallelism.tensor_model_parallel_size=2", "training.stop_after_step=2"]
    first = slipway("train", *job, *fixed, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (line,) = chosen(first.stdout)
    plan = _plan(tmp_path)
    assert "TP2" in line and plan["choice"]["why"] in line and plan["config"]["auto"] == []

    second = slipway("train", *job, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    (line,) = chosen(second.stdout)
    assert plan["choice"]["why"] in line and "as the run began" in line
    now = _plan(tmp_path)
    assert now["config"]["parallelism"] == plan["config"]["parallelism"]
    assert now["config"]["training"] == plan["config"]["training"] | {"stop_after_step": None}
    assert [line["step"] for line in training_lines(tmp_path / "run")] == [1, 2, 3, 4]

    searched = slipway("plan", "--json", *job[:-1], f"run.dir={tmp_path / 'new'}", cwd=tmp_path)
    layout = json.loads(searched.stdout)["config"]["parallelism"]
    assert layout["tensor_model_parallel_size"] == 1, "else it could have been searched again"


def chosen(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("parallelism=auto: ")]


def _plan(folder: Path) -> dict:
    return json.loads((folder / "run" / "plan.json").read_text())
