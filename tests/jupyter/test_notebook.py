"""The notebook in docs/ reads real runs, in this environment's Python; tests/image has it in the image."""

from pathlib import Path

import pytest

import notebooks
from training import SMALL, slipway

NOTEBOOK = notebooks.ROOT / "docs" / "notebooks" / "run.ipynb"
FEW = ["training.steps=4", "validation.interval=2", "validation.steps=1", "training.global_batch_size=4"]
EARTH = ["model=earth_demo", "data=earth_demo", *FEW, "training.micro_batch_size=4"]
RUNS = {"text": [*SMALL, "data=bytes", *FEW, "model.num_layers=2"], "imagery": EARTH}


def test_it_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_it_reads_a_run(kind: str, tmp_path: Path) -> None:
    if kind == "imagery":
        prepared = slipway("data", *RUNS[kind], cwd=tmp_path)
        assert prepared.returncode == 0, prepared.stderr
    done = slipway("train", *RUNS[kind], "run.dir=a run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = notebooks.executed(
        NOTEBOOK, "from pathlib import Path\nRUN = Path('a run')", None, "python3", tmp_path
    )
    told = "\n".join(notebooks.texts(cells))
    assert "step 4, " in told and "learning_rate" in told
    assert notebooks.shown(cells, "image/png") == (2 if kind == "imagery" else 1)
    if kind == "text":
        assert "def main(" in told
