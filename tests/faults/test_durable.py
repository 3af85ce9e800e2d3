"""What lasts, lasts: file systems that fail for a moment or for good, at chosen calls, under real trainings."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from errno import EACCES, EBUSY, EIO, EMFILE, ENOMEM, ENOTEMPTY, EROFS, ESTALE, ETIMEDOUT
from pathlib import Path

import pytest

from checkpoints import make_checkpoint
from faulty_files import Rule, faulty, struck
from training import SMALL, slipway, told, training_lines

LAYOUT = ["model.num_layers=2", "training.steps=6", "checkpoint.interval=2", "checkpoint.keep_last=null"]


def run_under(rules: list[Rule], log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in faulty(rules, log).items():
        monkeypatch.setenv(name, value)


def events(run_dir: Path, name: str) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("event") == name]


def contents(folder: Path) -> dict[str, str]:
    """The checksum of every tensor file below a folder."""
    paths = sorted(folder.rglob("*.distcp"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(scope="module")
def root(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on a file system that is slow, and will not remove or replace some of what it holds."""
    root = tmp_path_factory.mktemp("durable")
    rules = [
        Rule("write", "*/checkpoints/*.distcp", delay=0.3, times=3),
        Rule("rename", "*/untidy/checkpoints/step-00000002", EBUSY),
        Rule("unlink,rmdir", "*/untidy/checkpoints/.step-00000003.removed.tmp/*", ENOTEMPTY),
        Rule("rename", "*/untidy/checkpoints/.latest*", EACCES),
    ]
    with pytest.MonkeyPatch.context() as patch:
        run_under(rules, root / "faults", patch)
        jobs = [
            [*LAYOUT, f"run.dir={root / 'waited'}", "checkpoint.async_save=false"],
            [*LAYOUT, f"run.dir={root / 'beside'}", "checkpoint.async_save=true"],
            [*LAYOUT, f"run.dir={root / 'untidy'}", "checkpoint.interval=1", "checkpoint.keep_last=1"],
        ]
        assert train_many(jobs) == [0, 0, 0]
    return root


def test_a_checkpoint_holds_one_step_whether_training_waits_or_not(root: Path) -> None:
    waited, beside = contents(root / "waited"), contents(root / "beside")
    assert len(waited) == 3
    assert waited == beside
    assert len(set(waited.values())) == 3
    saves = [json.loads(line) for line in (root / "waited" / "metrics.jsonl").read_text().splitlines()]
    saves = [line for line in saves if line["kind"] == "checkpoint"]
    assert saves[0]["seconds"] >= 0.9  # three slow writes
    assert all(line["stall_seconds"] >= 0.9 * line["seconds"] for line in saves)
    assert {one.operation for one in struck(root / "faults")} >= {"write"}


def test_what_cannot_be_tidied_up_is_told_once_and_ends_nothing(root: Path) -> None:
    run_dir = root / "untidy"
    assert len(training_lines(run_dir)) == 6
    said = [event["reason"] for event in events(run_dir, "checkpoint warning")]
    assert len(said) == len(set(said))
    for words in (("step-00000002", "busy"), ("step-00000003", "not empty"), ("latest", "Permission denied")):
        assert any(all(word in line for word in words) for line in said), said
    left = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert {"step-00000002", "step-00000006"} <= left
    assert not left & {"step-00000001", "step-00000003", "step-00000004", "step-00000005"}


LOOK = """
import json, sys
from pathlib import Path
from slipway.errors import Fault
from slipway.checkpoint import store as checkpoint_store
for name in sys.argv[2:]:
    try:
        found = checkpoint_store.newest_good(Path(sys.argv[1]) / name)
        print(json.dumps([name, found.path and found.path.name, len(found.skipped)]))
    except Fault as error:
        print(json.dumps([name, str(error), None]))
"""


def test_what_cannot_be_read_now_is_not_taken_for_damage(tmp_path: Path) -> None:
    """A shard, the index, a manifest, the description or the folder fails to open, to be read, listed, looked at."""
    make_checkpoint(tmp_path / "run", 1)
    make_checkpoint(tmp_path / "run", 2)
    cases = [
        ("open", "step-00000002/__0_0.distcp", EACCES),
        ("open", "step-00000002/.metadata", ESTALE),
        ("open", "step-00000002/manifest.json", EMFILE),
        ("open", "step-00000002/slipway.json", EIO),
        ("read", "step-00000002/__1_0.distcp", EIO),
        ("read", "step-00000002/manifest.json", ENOMEM),
        ("stat", "step-00000002/__1_0.distcp", ETIMEDOUT),
        ("open,list", "", EACCES),
    ]
    rules, names = [], []
    for number, (operation, path, error) in enumerate(cases):
        for name, times in ((f"always-{number}", None), (f"once-{number}", 1)):
            if name.startswith("once") and error == EACCES:
                continue  # permissions do not come back by themselves
            shutil.copytree(tmp_path / "run", tmp_path / name)
            names.append(name)
            rules.append(Rule(operation, f"*/{name}/checkpoints{path and '/' + path}", error, times=times))
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path), *names],
        env={**os.environ, **faulty(rules, tmp_path / "faults")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert len(found) == len(names)
    for number, (operation, path, error) in enumerate(cases):
        why, skipped = found[f"always-{number}"]
        assert skipped is None, (operation, path, why)
        assert path in why and os.strerror(error) in why and "\n" not in why
        if error != EACCES:
            assert found[f"once-{number}"] == ["step-00000002", 0], (operation, path)
    assert len({one.path for one in struck(tmp_path / "faults")}) == len(names)


def test_a_start_that_cannot_read_a_checkpoint_changes_nothing(
    root: Path, corpus: list[str], tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(root / "waited", tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    rules = [Rule("open", "*/step-00000006/__0_0.distcp", EIO)]
    words = [*SMALL, *corpus, *LAYOUT, "training.steps=8", f"run.dir={run_dir}"]
    env = {**os.environ, **faulty(rules)}
    done = slipway("train", *words, cwd=tmp_path, env=env)
    assert done.returncode == 1
    [line] = told(done.stderr)
    assert "step-00000006/__0_0.distcp" in line and "Input/output error" in line
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_a_file_system_that_becomes_read_only(root: Path, corpus: list[str], tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(root / "waited", tmp_path / "run"))
    rules = [Rule("mkdir", "*/checkpoints/*", EROFS)]
    words = [*SMALL, *corpus, *LAYOUT, "training.steps=8", f"run.dir={run_dir}"]
    done = slipway("train", *words, cwd=tmp_path, env={**os.environ, **faulty(rules)})
    assert done.returncode == 1
    [line] = told(done.stderr)
    assert line.startswith("slipway: step 8: the checkpoint cannot be written: ")
    assert "Read-only file system" in line
    assert contents(run_dir) == contents(root / "waited")


def test_no_checkpoint_is_committed_before_its_curve_is_on_disk(
    root: Path, corpus: list[str], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    rules = [Rule("fsync", "*/metrics.jsonl", EIO)]
    words = [*SMALL, *corpus, *LAYOUT, f"run.dir={run_dir}"]
    done = slipway("train", *words, cwd=tmp_path, env={**os.environ, **faulty(rules)})
    assert done.returncode == 1
    line = told(done.stderr)[0]
    assert "metrics.jsonl" in line and "Input/output error" in line
    assert not [path for path in (run_dir / "checkpoints").iterdir() if path.name[0] != "."]
