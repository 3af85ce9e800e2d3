"""A training reads prepared chips where nothing of what preparation needs can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prepared_chips import BANDS, SPLIT, prepared
from slipway.data.imagery.layout import Layout

LAYOUT = Layout(2, len(BANDS), 20)
WORDS = [
    *("model=earth_demo", "model.image_size=16", "model.patch_size=8", "model.num_frames=2"),
    *("model.num_bands=3", "model.num_layers=1", "model.hidden_size=32", "model.decoder_num_layers=1"),
    *("training.steps=2", "training.global_batch_size=4", "training.micro_batch_size=2"),
    *("optimizer.lr_warmup_steps=0", "validation.interval=2", "validation.steps=1", "checkpoint.interval=0"),
    *("cluster.device.peak_tflops_fp32=0.1", "logging.interval=1", "data=any_imagery"),
    *(f"data.bands=[{','.join(BANDS)}]", "data.chip_size=20", f"data.split=[{','.join(map(str, SPLIT))}]"),
    *("data.shard_size=20000", "data.sources.any.inputs=[nowhere]", "data.sources.any.format=raster"),
]


@pytest.mark.timeout(240)
def test_training_needs_none_of_the_extra_earth(tmp_path: Path) -> None:
    config = prepared(tmp_path, {"any": 24}, LAYOUT)
    for name in (
        "rasterio",
        "osgeo",
        "xarray",
        "zarr",
        "pandas",
        "numcodecs",
        "h5py",
        "h5netcdf",
        "webdataset",
    ):
        (tmp_path / "absent").mkdir(exist_ok=True)
        (tmp_path / "absent" / f"{name}.py").write_text(f"raise AssertionError('{name} was imported')\n")
    words = [*WORDS, f"data.dir={config.data.dir}", f"run.dir={tmp_path / 'run'}"]
    # not warm: what is there already would not be imported from the path
    done = subprocess.run(
        [sys.executable, "-m", "slipway", "train", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line.get("kind") == "train"]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
