"""A run's position in its data, over segments with other ranks, batches and blends."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slipway.data.ledger import DataLedger
from training import SMALL, layout, slipway, told


@pytest.fixture(scope="module")
def folder(train_many: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four segments of one run on two sources; what is tried on a copy in between must be refused."""
    root = tmp_path_factory.mktemp("position")
    data = [
        f"+data.sources.more={{inputs:[{subprocess.__file__}],weight:1.0}}",
        f"data.dir={root / 'prepared'}",
        "training.steps=12",
    ]

    def job(stop: int, *more: str, run: str = "run") -> list[str]:
        return [*data, f"run.dir={root / run}", f"training.stop_after_step={stop}", *more]

    sixteen = "training.global_batch_size=16"
    jobs = [
        job(4, *layout(ranks=1)),
        job(6, *layout(ranks=2), sixteen, "data.sources.more.weight=3"),
        job(8, *layout(ranks=4, tp=2), sixteen, "data.sources.more.weight=0"),
        job(10, *layout(ranks=1)),
        job(12, "training.seed=5"),
        job(12, "data.sequence_length=16"),
        job(12, "data.split=[0.7,0.2,0.1]"),
        [*data[:2], f"run.dir={root / 'run'}", "training.samples=160"],  # of steps with other batches
    ]
    assert train_many(jobs) == [0, 0, 0, 0, 2, 2, 2, 2]
    return root


def infos(run: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(run.glob("checkpoints/step-*/slipway.json"))]


@pytest.mark.timeout(600)
def test_every_segment_goes_on_where_the_last_one_ended(folder: Path) -> None:
    data = [DataLedger.model_validate(info["data"]) for info in infos(folder / "run")]
    # the newest three are kept: 2 x 16 samples of a 1:3 blend, 2 x 16 of one source, 2 x 8 of both
    assert [ledger.consumed for ledger in data] == [
        {"files": 16 + 8, "more": 16 + 24},
        {"files": 16 + 8 + 32, "more": 16 + 24},
        {"files": 16 + 8 + 32 + 8, "more": 16 + 24 + 8},
    ]
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    train = [line["consumed_samples"] for line in lines if line["kind"] == "train"]
    assert train == [8, 16, 24, 32, 48, 64, 80, 96, 104, 112]
    changes = [(line["sample"], line["change"]) for line in lines if line.get("event") == "blend changed"]
    assert changes == [
        (32, "files 0.5 -> 0.25, more 0.5 -> 0.75"),
        (64, "files 0.25 -> 1, more 0.75 -> 0"),
        (96, "files 1 -> 0.5, more 0 -> 0.5"),
    ]
    saved = [line["consumed"] for line in lines if line["kind"] == "checkpoint"]
    assert saved[1:] == [ledger.consumed for ledger in data]


@pytest.mark.timeout(600)
def test_changed_tokens_are_a_users_error(folder: Path, corpus: list[str]) -> None:
    """Same size, other bytes: nothing of the run is written, and one line says what to do."""
    shutil.copytree(folder / "prepared", folder / "copy")
    path = folder / "copy" / "more.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    before = {file: file.stat().st_mtime_ns for file in (folder / "run").rglob("*") if file.is_file()}
    words = [*SMALL, *corpus, f"+data.sources.more={{inputs:[{subprocess.__file__}],weight:1.0}}"]
    words += [f"data.dir={folder / 'copy'}", f"run.dir={folder / 'run'}", "training.steps=12"]
    done = slipway("train", *words, cwd=folder)
    assert done.returncode == 2, done.stderr
    [line] = told(done.stderr)
    assert done.stderr.endswith(line + "\n")
    assert "data.sources.more" in line and "more.bin has changed" in line and "slipway data" in line
    after = {file: file.stat().st_mtime_ns for file in (folder / "run").rglob("*") if file.is_file()}
    assert {f: t for f, t in after.items() if ".lock" not in f.name} == {
        f: t for f, t in before.items() if ".lock" not in f.name
    }
