"""One trainer at a time, with real processes; other machines are stood for by their heartbeat files."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from refusals import refused
from slipway.run_dir import RunDir
from slipway.runs.lock import holder as holder_file
from slipway.runs.lock import lock
from slipway.runs.lock import posix as posix_lock
from slipway.runs.lock.holder import Holder

HOLD = """
import sys, time
from pathlib import Path
from slipway.errors import UserError
from slipway.runs.lock import lock
try:
    held = lock.take(Path(sys.argv[1]))
except UserError as error:
    print("refused", error, flush=True)
    sys.exit(2)
print("taken", flush=True)
BODY
"""
WAIT = "sys.stdin.readline(); held.release()"
ELSEWHERE = Holder(host="node7", machine="another", pid=4711, job="99", since=1000.0)


def start(run_dir: Path, body: str = WAIT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("BODY", body), str(run_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_the_second_is_refused_and_told_by_whom(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12345")
    first = start(tmp_path)
    try:
        assert said(first) == "taken"
        second = start(tmp_path)
        answer = said(second)
        assert second.wait(20) == 2
        assert f"pid {first.pid}, job 12345) since 20" in answer and os.uname().nodename in answer
        with refused("run.dir", f"pid {first.pid}", value=tmp_path):
            lock.check_free(tmp_path)
        holder = lock.holder_of(tmp_path, time.time())
        assert holder is not None and holder.pid == first.pid
    finally:
        end(first)


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    processes = [start(tmp_path / "new") for _ in range(6)]
    try:
        answers = [said(process).split()[0] for process in processes]
    finally:
        end(*processes)
    assert sorted(answers) == ["refused"] * 5 + ["taken"]


def test_after_an_end_nothing_is_left(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert said(first) == "taken"
    first.communicate("\n", timeout=20)
    assert first.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert lock.holder_of(tmp_path, time.time()) is None
    lock.take(tmp_path).release()


def test_a_killed_holder_is_followed_at_once_though_its_child_lives(tmp_path: Path, capsys) -> None:
    body = "import os\npid = os.fork()\nif pid: print(pid, flush=True)\ntime.sleep(60)"
    first = start(tmp_path, body)
    child = 0
    try:
        assert said(first) == "taken"
        child = int(said(first))
        first.kill()
        first.wait(20)
        assert Path(f"/proc/{child}").exists()  # and has the descriptor
        started = time.monotonic()
        lock.check_free(tmp_path)
        lock.take(tmp_path).release()
        assert time.monotonic() - started < 10
        assert capsys.readouterr().out == ""
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        end(first)


def test_looking_does_not_drop_the_lock(tmp_path: Path) -> None:
    held = lock.take(tmp_path)
    try:
        assert lock.holder_of(tmp_path, time.time()) == held.me
        with refused("run.dir", f"pid {os.getpid()}", value=tmp_path):
            lock.check_free(tmp_path)
        with refused("run.dir", f"pid {os.getpid()}", value=tmp_path):
            lock.take(tmp_path)
        other = start(tmp_path)
        assert said(other).startswith("refused")
        end(other)
    finally:
        held.release()
    assert not posix_lock.is_held(tmp_path / ".lock")


def test_checking_writes_nothing(tmp_path: Path) -> None:
    lock.check_free(tmp_path)
    lock.check_free(tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


def test_another_machine_that_beats_refuses(tmp_path: Path) -> None:
    holder_file.write(tmp_path, ELSEWHERE)
    timer = threading.Timer(1.0, os.utime, [RunDir(tmp_path).holder])
    timer.start()
    with refused("run.dir", "node7", 4711, 99):
        lock.take(tmp_path, stale_seconds=30)
    timer.join()
    assert not posix_lock.is_held(tmp_path / ".lock")
    assert lock.holder_of(tmp_path, time.time()) == ELSEWHERE


def test_another_machine_that_is_silent_is_waited_for_and_followed(tmp_path: Path, capsys) -> None:
    holder_file.write(tmp_path, ELSEWHERE)
    started = time.monotonic()
    held = lock.take(tmp_path, stale_seconds=1.5)
    assert 0.5 < time.monotonic() - started < 10
    said_so = capsys.readouterr().out
    assert "waiting up to" in said_so and "taken over from node7 (pid 4711, job 99)" in said_so
    assert lock.holder_of(tmp_path, time.time()) == held.me
    held.release()


def test_another_machine_silent_for_long_is_followed_at_once(tmp_path: Path, capsys) -> None:
    holder_file.write(tmp_path, ELSEWHERE)
    os.utime(RunDir(tmp_path).holder, (0, time.time() - 61))
    assert lock.holder_of(tmp_path, time.time()) is None
    started = time.monotonic()
    lock.take(tmp_path).release()
    assert time.monotonic() - started < 10
    assert "taken over" in capsys.readouterr().out


def test_another_machine_that_ends_well_is_followed_at_once(tmp_path: Path) -> None:
    holder_file.write(tmp_path, ELSEWHERE)
    timer = threading.Timer(0.7, RunDir(tmp_path).holder.unlink)
    timer.start()
    started = time.monotonic()
    lock.take(tmp_path, stale_seconds=30).release()
    assert time.monotonic() - started < 10
    timer.join()


def test_without_locks_the_heartbeat_decides(tmp_path: Path, monkeypatch) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    held = lock.take(tmp_path)
    assert lock.holder_of(tmp_path, time.time()) == held.me
    timer = threading.Timer(1.0, held.beat)
    timer.start()
    with refused("run.dir", f"pid {os.getpid()}", value=tmp_path):
        lock.take(tmp_path, stale_seconds=30)
    timer.join()
    held.release()
    lock.take(tmp_path).release()


def test_a_beat_renews_the_name_and_notices_its_loss(tmp_path: Path) -> None:
    held = lock.take(tmp_path)
    path = RunDir(tmp_path).holder
    os.utime(path, (0, 0))
    held.beat()
    assert path.stat().st_mtime == pytest.approx(time.time(), abs=30)
    path.unlink()
    held.beat()
    assert lock.holder_of(tmp_path, time.time()) == held.me
    holder_file.write(tmp_path, ELSEWHERE)
    with pytest.raises(lock.LostLock, match="node7"):
        held.beat()
    held.release()
    assert path.exists()  # the other's


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused("run.dir", os.strerror(errno.EEXIST), value=tmp_path / "file" / "run"):
        lock.take(tmp_path / "file" / "run")


def test_a_time_far_ahead_is_no_sign_of_life(tmp_path: Path, capsys) -> None:
    """The holder's clock was a day ahead, and it is gone."""
    holder_file.write(tmp_path, ELSEWHERE)
    os.utime(RunDir(tmp_path).holder, (0, time.time() + 86400))
    assert lock.holder_of(tmp_path, time.time()) is None
    held = lock.take(tmp_path, stale_seconds=1.5)
    assert "taken over" in capsys.readouterr().out
    assert lock.holder_of(tmp_path, time.time()) == held.me
    held.release()


def test_the_next_holder_removes_what_killed_writers_left(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    left = [
        ".plan.json.77.tmp",
        ".metrics.jsonl.77.tmp",
        "..lock.holder.77.tmp",
        "segments/.0001.json.77.tmp",
    ]
    others = [".loss.png.77.tmp", ".launch.json.77.tmp", ".mine.tmp"]  # written without the lock: perhaps now
    for name in [*left, *others]:
        (tmp_path / name).write_text("half")
    lock.take(tmp_path).release()
    assert not [name for name in left if (tmp_path / name).exists()]
    assert all((tmp_path / name).exists() for name in others)


def test_a_holder_whose_name_was_overwritten_writes_it_again(tmp_path: Path) -> None:
    held = lock.take(tmp_path)
    RunDir(tmp_path).holder.write_bytes(b"\xff no holder")
    assert lock.holder_of(tmp_path, time.time()) is not None
    held.beat()
    assert lock.holder_of(tmp_path, time.time()) == held.me
    held.release()
    assert not RunDir(tmp_path).holder.exists()


NAMELESS = """
import sys
from pathlib import Path
from slipway.run_dir import RunDir
from slipway.runs.lock import posix
descriptor, outcome = posix.take(RunDir(Path(sys.argv[1])).lock)
print(outcome, flush=True)
sys.stdin.readline()
"""


def test_one_that_has_given_up_its_name_already_is_no_trainer(tmp_path: Path, monkeypatch) -> None:
    """A holder that ends removes its name before it gives the lock back: who looks in between waits for that."""
    words = [sys.executable, "-c", NAMELESS, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        with monkeypatch.context() as soon:
            soon.setattr(lock, "NAMELESS_SECONDS", 0.1)
            for call in (lock.check_free, lock.take):
                with refused("run.dir"):
                    call(tmp_path)
        stdin = process.stdin
        timer = threading.Timer(0.3, lambda: (stdin.write("\n"), stdin.flush()))
        timer.start()
        lock.take(tmp_path).release()
        timer.join()
