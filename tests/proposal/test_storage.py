import json
from pathlib import Path

import pytest

from slipway.bench.options import configuration
from slipway.plan import Plan, make_plan
from slipway.plan.forecast import checkpoint_bytes
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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_size_of_a_real_checkpoint(precision: str, tmp_path: Path) -> None:
    larger = ["model.hidden_size=256", "training.steps=3", "data=bytes", "run.dir=run"]
    done = slipway("train", *SMALL, *larger, *layout(precision=precision), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.is_dir())
    manifest = json.loads((folder / "manifest.json").read_text())
    real = sum(entry["size"] for entry in manifest["files"].values())
    config = configuration([], [*SMALL, *larger, *layout(precision=precision)], Path("run"))
    expected = checkpoint_bytes(make_plan(config))
    assert expected == pytest.approx(real, rel=0.02)  # the rest says where which tensor is


def test_prepared_data_are_counted_once_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("some text\n" * 2000)
    words = ["data=bytes", "data.sources.stdlib.inputs=[a.txt]", "run.dir=run"]
    config = configuration([], words, Path("run"))
    assert prepared_bytes(config) is None
    done = slipway("data", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from slipway.data import kind_of

    assert prepared_bytes(config) == sum(path.stat().st_size for path in kind_of(config).written(config)) > 0
