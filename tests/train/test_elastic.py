"""A run that continues on fewer and on more devices trains as the one that was left alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from training import SMALL, layout, slipway, training_lines

pytestmark = pytest.mark.faults

STEPS = 8
HALF = 3
WISH = layout(tp=2, pp=2, distopt=True)
ELASTIC = "resources.elastic=true"


@pytest.fixture(scope="module")
def folder(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, and one stopped early, on eight ranks: tensor 2 x pipeline 2 x data 2."""
    root = tmp_path_factory.mktemp("elastic")
    same = [f"training.steps={STEPS}", *WISH, *layout(ranks=8)]
    stop = f"training.stop_after_step={HALF}"
    assert train_many([[f"run.dir={root / 'whole'}", *same], [f"run.dir={root / 'half'}", *same, stop]]) == [
        0,
        0,
    ]
    return root


@pytest.fixture
def stopped(folder: Path, tmp_path: Path) -> Path:
    """The run that was stopped."""
    return Path(shutil.copytree(folder / "half", tmp_path / "run"))


def same_losses(continued: Path, whole: Path) -> None:
    """Every step once, with the loss of the run that was left alone."""
    expected, got = training_lines(whole), training_lines(continued)
    assert [line["step"] for line in got] == list(range(1, len(got) + 1))
    assert [line["loss"] for line in got] == pytest.approx(
        [line["loss"] for line in expected[: len(got)]], rel=1e-5
    )


@pytest.mark.timeout(300)
def test_on_two_devices_and_on_eight_again(
    stopped: Path, folder: Path, corpus: list[str], tmp_path: Path
) -> None:
    job = [*SMALL, *corpus, f"run.dir={stopped}", f"training.steps={STEPS}", *WISH, ELASTIC]
    fewer = slipway("train", *job, *layout(ranks=2), f"training.stop_after_step={HALF + 2}", cwd=tmp_path)
    assert fewer.returncode == 0, fewer.stderr
    assert (
        "elastic: parallelism.pipeline_model_parallel_size 2 -> 1: world size 2 = 1 nodes x 2 devices is not "
        "divisible by tensor 2 x pipeline 2 x context 1 = 4\n"
        "layout: 8 -> 2 devices, data-parallel size 2 -> 1, pipeline 2 -> 1; tensor 2 as before; "
        "global batch 8 = 1 replica x 8 microbatches x 1\n"
    ) in fewer.stdout
    again = slipway("train", *job, *layout(ranks=8), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "elastic:" not in again.stdout
    assert (
        "layout: 2 -> 8 devices, data-parallel size 1 -> 2, pipeline 1 -> 2; tensor 2 as before; "
        "global batch 8 = 2 replicas x 4 microbatches x 1\n"
    ) in again.stdout
    assert len(training_lines(stopped)) == STEPS
    same_losses(stopped, folder / "whole")


@pytest.mark.timeout(300)
def test_a_launcher_that_started_fewer_ranks_than_the_plan_has(
    stopped: Path, folder: Path, corpus: list[str], tmp_path: Path
) -> None:
    """The plan file says eight, torchrun starts four: each rank fits the same layout alone."""
    job = [*SMALL, *corpus, f"run.dir={stopped}", f"training.steps={STEPS}", *WISH, *layout(ranks=8), ELASTIC]
    planned = slipway("plan", "--json", *job, f"training.stop_after_step={HALF + 2}", cwd=tmp_path)
    (tmp_path / "plan.json").write_text(planned.stdout)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
        + ["-m", "slipway", "train", "--plan", "plan.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.count("layout: 8 -> 4 devices, data-parallel size 2 -> 1; tensor 2, pipeline 2 as before")
        == 1
    )
    plan = json.loads((stopped / "plan.json").read_text())
    assert (plan["world_size"], plan["config"]["resources"]["devices_per_node"]) == (4, 4)
    assert len(training_lines(stopped)) == HALF + 2
    same_losses(stopped, folder / "whole")
