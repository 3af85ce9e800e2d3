"""A start whose predecessor, of the same run, still holds the run: it waits, and it is no user's mistake."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refusals import refused
from slipway.errors import Fault
from slipway.run_dir import RunDir
from slipway.runs import segment
from slipway.runs.lock import earlier, lock
from slipway.runs.lock import holder as holder_file
from slipway.runs.lock.holder import Holder

HOLD = """
import sys
from pathlib import Path
from slipway.runs.lock import lock
held = lock.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.readline()
held.release()
"""
ELSEWHERE = Holder(host="node7", machine="another", pid=4711, job="demo", since=1000.0)


@pytest.fixture(autouse=True)
def in_a_pod(monkeypatch) -> None:
    monkeypatch.setenv("SLIPWAY_JOB_ID", "demo")


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The run, held by a pod of the run `demo`."""
    words = [sys.executable, "-c", HOLD, str(run_dir)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "taken\n"
        yield process
    finally:
        process.kill()
        process.wait(20)


def test_it_is_waited_for(tmp_path: Path, capsys) -> None:
    with held(tmp_path) as process:
        assert process.stdin is not None
        stdin = process.stdin
        threading.Timer(1.5, lambda: (stdin.write("\n"), stdin.flush())).start()
        began = time.monotonic()
        assert segment.check_free(tmp_path) == 0
        assert 1.0 < time.monotonic() - began < 60
    assert "an earlier pod of this run" in capsys.readouterr().out
    lock.take(tmp_path).release()


def test_after_its_time_it_is_a_fault_and_no_mistake(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(earlier, "OWN_SECONDS", 0.5)
    with held(tmp_path):
        for call in (segment.check_free, lock.take):
            with refused("run.dir", kind=Fault):
                call(tmp_path)


@pytest.mark.parametrize("job", ["other", ""])
def test_another_job_is_refused_at_once(job: str, tmp_path: Path, monkeypatch) -> None:
    with held(tmp_path):
        monkeypatch.setenv("SLIPWAY_JOB_ID", job)
        began = time.monotonic()
        with refused("run.dir"):
            segment.check_free(tmp_path)
        assert time.monotonic() - began < 30


def test_on_another_machine_whose_lock_is_not_seen(tmp_path: Path) -> None:
    """The heartbeat says that it lives, and its end that it does not."""
    holder_file.write(tmp_path, ELSEWHERE)

    def live() -> None:
        for _ in range(4):
            time.sleep(0.4)
            os.utime(RunDir(tmp_path).holder)
        RunDir(tmp_path).holder.unlink()

    thread = threading.Thread(target=live)
    thread.start()
    segment.check_free(tmp_path)
    assert not thread.is_alive() or not RunDir(tmp_path).holder.exists()
    thread.join(10)


def test_nobody_holds_it(tmp_path: Path) -> None:
    began = time.monotonic()
    assert segment.check_free(tmp_path / "new") == 0 and not (tmp_path / "new").exists()
    assert time.monotonic() - began < 10
