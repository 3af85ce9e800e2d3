"""Real trainings whose newest checkpoint is damaged, or whose disk is full: nothing but time is lost."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refusals import check_line
from slipway.checkpoint import manifest as checkpoint_manifest
from training import SMALL, layout, slipway, told, training_lines

STEPS = 9
GOOD, NEWEST = "step-00000003", "step-00000006"
SETTINGS = [
    "model.num_layers=1",
    f"training.steps={STEPS}",
    "checkpoint.interval=3",
    *layout(ranks=2, tp=2),
]


class Payload:
    """What an attacker plants: unpickling it would make a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def flip(path: Path) -> None:
    content = bytearray((path / "__1_0.distcp").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "__1_0.distcp").write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path / "__0_0.distcp", 1000)


def delete(path: Path) -> None:
    (path / "__1_0.distcp").unlink()


def plant(path: Path) -> None:
    """In the index, with a manifest that fits."""
    (path / ".metadata").write_bytes(pickle.dumps(Payload(path.parent.parent / "owned")))
    manifest = checkpoint_manifest.make(path)
    (path / checkpoint_manifest.FILE).write_text(manifest.text())


def plant_in(name: str) -> Callable[[Path], None]:
    """In a file beside the tensors, or in place of a tensor, with a manifest that fits."""

    def plant(path: Path) -> None:
        with zipfile.ZipFile(path / name) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        pickled = next(member for member in members if member.endswith("/data.pkl"))
        members[pickled] = pickle.dumps(Payload(path.parent.parent / "owned"))
        with zipfile.ZipFile(path / name, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        manifest = checkpoint_manifest.make(path)
        (path / checkpoint_manifest.FILE).write_text(manifest.text())

    return plant


def interrupt(path: Path) -> None:
    """The save of the next one was cut off."""
    shutil.copytree(path, path.with_name(".step-00000009.tmp"))


DAMAGE: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "flipped": (flip, "__1_0.distcp: SHA-256"),
    "truncated": (truncate, "__0_0.distcp: "),
    "missing": (delete, "__1_0.distcp: No such file"),
    "planted": (plant, ".metadata: damaged or not ours (it names posix.mkdir)"),
    "planted beside": (plant_in("common.pt"), "common.pt: at 0: damaged or not ours (it names posix.mkdir)"),
    "interrupted": (interrupt, None),
}


@pytest.fixture(scope="module")
def root(train_many, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run; and runs stopped after the newest checkpoint, damaged, and started again."""
    root = tmp_path_factory.mktemp("damage")
    whole, half = f"run.dir={root / 'whole'}", f"run.dir={root / 'half'}"
    assert train_many([[*SETTINGS, whole], [*SETTINGS, half, "training.stop_after_step=6"]]) == [0, 0]
    jobs = []
    for name, (harm, _) in DAMAGE.items():
        shutil.copytree(root / "half", root / name)
        harm(root / name / "checkpoints" / NEWEST)
        jobs.append([*SETTINGS, f"run.dir={root / name}"])
    assert set(train_many(jobs)) == {0}
    return root


def curve(run_dir: Path) -> list[tuple]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in training_lines(run_dir)]


def events(run_dir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("event") == "checkpoint skipped"]


@pytest.mark.parametrize("name", DAMAGE)
def test_the_run_continues_from_the_newest_good_one_bit_for_bit(root: Path, name: str) -> None:
    run_dir, (_, reason) = root / name, DAMAGE[name]
    assert len(curve(run_dir)) == STEPS
    assert curve(run_dir) == curve(root / "whole")
    found = [(event["step"], event["path"], event["reason"]) for event in events(run_dir)]
    if reason is None:
        assert found == []
    else:
        ((step, path, told),) = found
        assert (step, path) == (3, str(run_dir / "checkpoints" / NEWEST))
        assert told.startswith(reason)
    assert not (run_dir / "owned").exists()
    aside = [] if reason is None else [f"{NEWEST}.aside"]  # nothing is removed for being damaged
    checkpoints = ["latest", GOOD, NEWEST, *aside, "step-00000009"]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == checkpoints


def test_the_planted_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "owned")))
    assert (tmp_path / "owned").is_dir()


def test_without_a_good_one_nothing_is_started(root: Path, corpus: list[str], tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(root / "half", tmp_path / "run"))
    delete(run_dir / "checkpoints" / NEWEST)
    truncate(run_dir / "checkpoints" / GOOD)
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    done = slipway("train", *SMALL, *corpus, *SETTINGS, f"run.dir={run_dir}", cwd=tmp_path)
    assert done.returncode == 2
    [line] = told(done.stderr)
    assert f"{NEWEST}: __1_0.distcp: No such file" in line
    assert f"{GOOD}: __0_0.distcp: " in line
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_under_a_launcher_rank_0_decides_for_all(root: Path, corpus: list[str], tmp_path: Path) -> None:
    """The last step's checkpoint has a flipped byte: no rank may take the run for finished."""
    run_dir = Path(shutil.copytree(root / "whole", tmp_path / "run"))
    flip(run_dir / "checkpoints" / "step-00000009")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + ["-m", "slipway", "train", *SMALL, *corpus, *SETTINGS, f"run.dir={run_dir}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipping checkpoint") == 1
    assert curve(run_dir) == curve(root / "whole")
    assert [event["step"] for event in events(run_dir)] == [6]


@pytest.fixture
def small_disk(root: Path, tmp_path: Path) -> Iterator[Path]:
    """A run directory whose checkpoints are on a file system with room for one and a half."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    one = sum(path.stat().st_size for path in (root / "half" / "checkpoints" / GOOD).iterdir())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={one * 3 // 2}", "tmpfs", str(checkpoints)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs here: {mounted.stderr.strip()}")
    yield checkpoints
    subprocess.run(["umount", str(checkpoints)], check=True)


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)


def test_a_full_disk_and_one_that_became_read_only(
    root: Path, corpus: list[str], train_many, small_disk: Path, tmp_path: Path
) -> None:
    """Each ends with one clear line; with room again, the run is the undisturbed one."""
    run_dir = small_disk.parent
    words = [*SMALL, *corpus, *SETTINGS, f"run.dir={run_dir}"]
    full = slipway("train", *words, cwd=tmp_path)
    assert full.returncode == 1
    first = told(full.stderr)[0]
    check_line(first, "step 6", small_disk, os.strerror(errno.ENOSPC))
    assert sorted(path.name for path in small_disk.iterdir()) == [".step-00000006.tmp", "latest", GOOD]

    remount(small_disk, "ro")
    locked = slipway("train", *words, cwd=tmp_path)
    assert locked.returncode == 2  # seen before anything is started
    [line] = told(locked.stderr)
    assert f"run.dir: {small_disk}" in line

    remount(small_disk, "rw,size=64m")
    assert train_many([words[len([*SMALL, *corpus]) :]]) == [0]
    assert curve(run_dir) == curve(root / "whole")
    checkpoints = ["latest", GOOD, NEWEST, "step-00000009"]
    assert sorted(path.name for path in small_disk.iterdir()) == checkpoints
