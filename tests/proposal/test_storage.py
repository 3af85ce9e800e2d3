import json
from pathlib import Path

import pytest

from slipway.bench.options import configuration
from slipway.data import kind_of
from slipway.plan import Plan, make_plan
from slipway.plan.summary import checkpoint_bytes
from slipway.proposal.storage import checkpoints, prepared_bytes
from training import SMALL, layout, slipway


def plan(*words: str) -> Plan:
    return make_plan(configuration([], ["training.steps=1000", *words], Path("run")))


@pytest.mark.parametrize(
    ("words", "written", "at_once"),
    [
        (["checkpoint.interval=0"], 1, 1),
        (["checkpoint.interval=100"], 10, 4),  # three that stay, one that is written
        (["checkpoint.interval=300", "checkpoint.keep_last=null"], 4, 4),
        (["checkpoint.interval=100", "checkpoint.keep_every=500"], 10, 6),
        (["checkpoint.interval=500"], 2, 2),
    ],
)
def test_how_many(words: list[str], written: int, at_once: int) -> None:
    found = checkpoints(plan(*words))
    assert (found.written, found.at_once) == (written, at_once)


def test_size_of_a_real_checkpoint(tmp_path: Path) -> None:
    larger = [
        "model.hidden_size=256",
        "training.steps=3",
        "data=bytes",
        "run.dir=run",
        *layout(precision="bf16"),
    ]
    done = slipway("train", *SMALL, *larger, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.is_dir())
    manifest = json.loads((folder / "manifest.json").read_text())
    asked = make_plan(configuration([], [*SMALL, *larger], Path("run")))
    real = sum(entry["size"] for entry in manifest["files"].values())
    expected = checkpoint_bytes(asked.config, asked.parameters)
    assert expected == pytest.approx(real, rel=0.02)  # the rest says where which tensor is


@pytest.mark.parametrize(
    ("words", "each"),
    [
        (["training.precision=fp32"], 4 + 8),
        (["training.precision=bf16"], 2 + 8 + 4),
        (["parallelism=zero3", "resources.devices_per_node=2"], 4 + 8),
    ],
)
def test_bytes_of_a_parameter(words: list[str], each: int) -> None:
    asked = plan(*words)
    assert checkpoints(asked).one == each * asked.parameters


def test_prepared_data_are_counted_once_they_are_there(tmp_path: Path) -> None:
    config = plan(f"data.dir={tmp_path}").config
    assert prepared_bytes(config) is None
    for number, path in enumerate(kind_of(config).written(config)):
        path.write_bytes(bytes(100 + number))
    count = len(kind_of(config).written(config))
    assert prepared_bytes(config) == 100 * count + count * (count - 1) / 2 > 0
