"""A part's process: its code, its limit, and that nothing of it is left."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from slipway.bench.gpu.process import ended_in

# a child in the same session, and one that has begun its own and whose parent is gone
PROGRAM = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
one = subprocess.Popen(sleep)
two = subprocess.Popen(sleep, start_new_session=True)
print(one.pid, two.pid, flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""


def run(tmp_path: Path, pause: float, seconds: float) -> int | None:
    command = [sys.executable, "-c", PROGRAM, str(pause)]
    return ended_in(command, seconds, tmp_path / "log", dict(os.environ), tmp_path)


def left(tmp_path: Path) -> list[int]:
    """Of the processes that the program has started, those that run."""
    pids = [int(word) for word in (tmp_path / "log").read_text().split()]
    assert len(pids) == 2
    limit = time.monotonic() + 10
    while (found := [pid for pid in pids if _runs(pid)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("pause", "seconds", "code"), [(600, 3, None), (1, 60, 7)], ids=["hangs", "ends"])
def test_its_end_is_the_end_of_all_that_it_started(
    tmp_path: Path, pause: float, seconds: float, code: int | None
) -> None:
    assert run(tmp_path, pause, seconds) == code
    assert left(tmp_path) == []


def test_nothing_is_left_where_the_caller_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = time.sleep

    def interrupted(seconds: float) -> None:
        waited(seconds)
        if (tmp_path / "log").read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 600, 60)
    monkeypatch.undo()
    assert left(tmp_path) == []
