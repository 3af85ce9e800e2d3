import os
import threading
import time
from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.data.text.kind import KIND
from slipway.doctor.checks import storage


def test_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = storage.caches(looking(environment={"SLIPWAY_CACHE": f"{tmp_path}/new/folder", "HOME": "/"}))
    assert found.status == "ok" and not (tmp_path / "new").exists()
    home = {"HOME": str(tmp_path)}
    assert storage.caches(looking(environment=home)).status == "warning"  # of several nodes, in $HOME
    assert storage.caches(looking(job=False, environment=home)).status == "ok"
    plant(tmp_path / "file")
    found = storage.caches(looking(environment={"SLIPWAY_CACHE": f"{tmp_path}/file/cache"}))
    assert (found.status, found.saw) == ("fault", f"{tmp_path}/file/cache: {tmp_path}/file is not a folder")
    monkeypatch.setattr(storage, "CACHE_BYTES", 2**60)
    assert storage.caches(looking(environment={"SLIPWAY_CACHE": str(tmp_path)})).status == "warning"


def test_run_dir(tmp_path: Path) -> None:
    assert storage.run_dir(looking(Path("/"), f"run.dir={tmp_path}/a/b")).status == "ok"
    assert list(tmp_path.iterdir()) == []
    plant(tmp_path / "file")
    assert storage.run_dir(looking(Path("/"), f"run.dir={tmp_path}/file/b")).status == "fault"
    assert storage.run_dir(looking(Path("/"), "run.dir=/proc/run")).status == "fault"


@pytest.mark.parametrize(("free", "status"), [(100, "ok"), (10, "warning"), (0.001, "fault")])
def test_room_for_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, status: str
) -> None:
    here = looking(Path("/"), f"run.dir={tmp_path}", "checkpoint.keep_last=3", "training.precision=bf16")
    each = storage.checkpoint_bytes(here)
    assert each == 14 * 1_846_272 or each % 14 == 0
    monkeypatch.setattr(storage, "_free", lambda folder: int(free * each / 4))
    found = storage.space(here)
    assert found.status == status and "4 checkpoints of" in found.expected


def test_a_large_model_needs_more_room(tmp_path: Path) -> None:
    big = looking(Path("/"), "experiment=gpt3_175b", f"run.dir={tmp_path}")
    assert 2.4e12 < storage.checkpoint_bytes(big) < 2.5e12  # 175 billion parameters x 14 bytes


def test_data(tmp_path: Path) -> None:
    here = looking(Path("/"), f"data.dir={tmp_path}")
    found = storage.data(here)
    assert (found.status, found.saw) == ("fault", f"{tmp_path}/manifest.json: No such file or directory")
    assert storage.data(looking(Path("/"), f"data.dir={tmp_path}", job=False)).status == "warning"
    alone = looking(Path("/"), f"data.dir={tmp_path}", environment={"SLIPWAY_DOCTOR_PREPARES": "1"})
    assert storage.data(alone).status == "warning"
    assert storage.data_digest(here) is None
    for name in ("manifest.json", "stdlib.bin", "stdlib.idx"):
        plant(tmp_path / name, name)
    assert storage.data(here).status == "ok"
    first = storage.data_digest(here)
    plant(tmp_path / "manifest.json", "other")
    assert first and storage.data_digest(here) != first


def test_a_kind_of_data_that_prepares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KIND), "written", lambda self, config: [])
    here = looking(Path("/"))
    assert storage.data(here).status == "ok" and storage.data_digest(here) is None


def test_shm(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    assert storage.shm(looking(tmp_path)).status == "fault"  # none at all
    (tmp_path / "dev" / "shm").symlink_to(tmp_path)
    assert storage.shm(looking(tmp_path)).status == "ok"
    assert storage.shm(looking(tmp_path, "cluster=juwels_booster", job=False)).status == "skipped"


def test_rank_0s_file(tmp_path: Path) -> None:
    mark = storage.write_mark(tmp_path / "run")
    assert mark is not None
    path, word = mark
    assert storage.sees_mark(tmp_path / "run", path.name, word)
    assert not storage.sees_mark(tmp_path, path.name, word, seconds=0.2)
    assert not storage.sees_mark(tmp_path / "run", path.name, "another", seconds=0.2)
    path.unlink()
    late = threading.Timer(0.3, path.write_text, [word])
    late.start()
    assert storage.sees_mark(tmp_path / "run", path.name, word, seconds=10)
    assert storage.write_mark(Path("/proc/run")) is None


def test_the_file_systems_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = looking(Path("/"), f"run.dir={tmp_path}")
    assert storage.file_clock(here).status == "ok"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 60)
    found = storage.file_clock(here)
    assert found.status == "warning"
    assert 55 < float(found.saw.removesuffix(" s")) < 65
    assert os.listdir(tmp_path) == []
