"""The notebook in docs/ reads real runs, in this environment's Python; tests/image has it in the image."""

from pathlib import Path

import pytest

import notebooks
from prepared_chips import BANDS, SPLIT, prepared
from slipway.data.imagery.layout import Layout
from training import SMALL, slipway

NOTEBOOK = notebooks.ROOT / "docs" / "notebooks" / "run.ipynb"
FEW = ["training.steps=4", "validation.interval=2", "validation.steps=1", "training.global_batch_size=4"]
TEXT = [*SMALL, "data=bytes", *FEW, "model.num_layers=2"]
EARTH = [
    *("model=earth_demo", "model.image_size=16", "model.patch_size=8", "model.num_frames=2"),
    *("model.num_bands=3", "model.num_layers=1", "model.hidden_size=32", "model.decoder_num_layers=1"),
    *("data=any_imagery", f"data.bands=[{','.join(BANDS)}]", "data.chip_size=20", "data.shard_size=20000"),
    *(f"data.split=[{','.join(map(str, SPLIT))}]", "data.sources.any.inputs=[nowhere]"),
    *("data.sources.any.format=raster", "training.micro_batch_size=2", "optimizer.lr_warmup_steps=0", *FEW),
    *("cluster.device.peak_tflops_fp32=0.1", "logging.interval=1000"),
]


def test_it_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "imagery"])
def test_it_reads_a_run(kind: str, tmp_path: Path) -> None:
    words = TEXT
    if kind == "imagery":
        config = prepared(tmp_path, {"any": 24}, Layout(2, len(BANDS), 20))
        words = [*EARTH, f"data.dir={config.data.dir}"]
    done = slipway("train", *words, "run.dir=a run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    parameters = "from pathlib import Path\nRUN = Path('a run')"
    cells = notebooks.executed(NOTEBOOK, parameters, None, "python3", tmp_path)
    told = "\n".join(notebooks.texts(cells))
    assert "step 4, " in told and "learning_rate" in told
    assert notebooks.shown(cells, "image/png") == (2 if kind == "imagery" else 1)
    if kind == "text":
        assert "def main(" in told
