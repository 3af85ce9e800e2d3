"""8 ranks, then 4, then 8 with another blend and batch in each: no sample is repeated, none is lost."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from training import SMALL, training_lines

RECORDER = Path(__file__).with_name("recorder.py")
WISH = [
    "parallelism.tensor_model_parallel_size=2",
    "parallelism.pipeline_model_parallel_size=2",
    "parallelism.use_distributed_optimizer=true",
    "resources.elastic=true",
]
SEGMENTS = [
    ["resources.devices_per_node=8", "training.stop_after_step=3"],
    [
        "resources.devices_per_node=4",
        "training.stop_after_step=6",
        "training.global_batch_size=16",
        "data.sources.more.weight=3",
    ],
    ["resources.devices_per_node=8", "training.global_batch_size=24", "data.sources.more.weight=0.5"],
]


@pytest.fixture(scope="module")
def run_dir(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three segments."""
    root = tmp_path_factory.mktemp("elasticity")
    (root / "read").mkdir()
    both = [f"+data.sources.more={{inputs:[{subprocess.__file__}],weight:1.0}}", f"data.dir={root / 'data'}"]
    words = [*SMALL, *corpus, *both, *WISH, f"run.dir={root / 'run'}", "training.steps=9"]
    jobs = [[*words, "checkpoint.keep_last=null", *segment] for segment in SEGMENTS]
    done = subprocess.run(
        [sys.executable, str(RECORDER), str(root / "codes.json")],
        input=f"{root / 'read'}\n{json.dumps(jobs)}",
        capture_output=True,
        text=True,
        timeout=200,
        env={"PYTHONPATH": str(RECORDER.parent.parent), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((root / "codes.json").read_text()) == [0, 0, 0], done.stdout + done.stderr
    (root / "said").write_text(done.stdout)
    return root / "run"


def consumed(run_dir: Path, step: int) -> dict[str, int]:
    """Samples of each source behind the run, from a checkpoint's ledger."""
    info = json.loads((run_dir / "checkpoints" / f"step-{step:08d}" / "slipway.json").read_text())
    total: Counter[str] = Counter()
    for phase in info["data"]["phases"]:
        total.update(phase["consumed"])
    return dict(total)


def test_what_was_read_is_the_ledger_each_sample_once(run_dir: Path) -> None:
    read = Counter(
        line for path in (run_dir.parent / "read").iterdir() for line in path.read_text().splitlines()
    )
    expected = [f"{source} {n}" for source, count in consumed(run_dir, 9).items() for n in range(count)]
    assert len(expected) == 3 * (8 + 16 + 24)
    assert sorted(read.elements()) == sorted(expected)


def test_the_ledger_follows_blend_and_batch(run_dir: Path) -> None:
    assert consumed(run_dir, 3) == {"files": 12, "more": 12}
    assert consumed(run_dir, 6) == {"files": 12 + 12, "more": 12 + 36}
    assert consumed(run_dir, 9) == {"files": 24 + 48, "more": 48 + 24}


def test_every_segment_says_its_layout_and_the_blend(run_dir: Path) -> None:
    said = (run_dir.parent / "said").read_text()
    assert "layout: 8 -> 4 devices, data-parallel size 2 -> 1" in said
    assert "layout: 4 -> 8 devices, data-parallel size 1 -> 2" in said
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    names = [line["event"] for line in lines if line["kind"] == "event"]
    assert names.count("blend changed") == 2
    assert names.count("layout changed") == 2
    assert [line["step"] for line in training_lines(run_dir)] == list(range(1, 10))
