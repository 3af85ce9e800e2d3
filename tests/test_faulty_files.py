"""The fault-injecting layer itself: it strikes where it is told to, and nowhere else."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faulty_files import Rule, Struck, faulty, struck

ACTIONS = {
    "open": "open(p, 'rb')",
    "read": "os.read(fd, 3)",
    "write": "os.write(fd, b'x')",
    "fsync": "os.fsync(fd)",
    "close": "os.close(fd)",
    "rename": "os.replace(p, p + '2')",
    "unlink": "os.unlink(p)",
    "mkdir": "os.mkdir(p + '-folder')",
    "rmdir": "os.rmdir(folder)",
    "stat": "os.stat(p)",
    "list": "os.listdir(folder)",
    "truncate": "os.truncate(fd, 1)",
    "link": "os.symlink(p, p + '-link')",
}
HEAD = "import os, sys, pathlib\np, folder = sys.argv[1:]\nfd = os.open(p, os.O_RDWR)\n"


def run(body: str, folder: Path, rules: list[Rule], counts: Path | None = None):  # noqa: ANN201
    target = folder / "target"
    target.write_text("content")
    (folder / "target-dir").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-S", "-c", HEAD + body, str(target), str(folder / "target-dir")],
        env={**os.environ, **faulty(rules, folder / "log", counts)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("operation", ACTIONS)
def test_each_operation_fails_with_the_error_named(operation: str, tmp_path: Path) -> None:
    body = f"try:\n    {ACTIONS[operation]}\nexcept OSError as e:\n    print(e.errno)\n"
    rule = Rule(operation, "*/target*", errno.ESTALE, nth=2 if operation == "open" else 1)
    done = run(body, tmp_path, [rule])
    assert done.stdout.split() == [str(errno.ESTALE)], done.stderr
    assert [(s.operation, s.error) for s in struck(tmp_path / "log")] == [(operation, "ESTALE")]


def test_other_paths_calls_and_operations_are_left_alone(tmp_path: Path) -> None:
    body = "for _ in range(5):\n    try:\n        os.write(fd, b'x'); print('good')\n    except OSError: print('bad')\n"
    rules = [
        Rule("write", "*/target", errno.EIO, nth=2, times=2),
        Rule("write", "*/other", errno.EIO),
        Rule("read", "*/target", errno.EIO),
    ]
    done = run(body, tmp_path, rules)
    assert done.stdout.split() == ["good", "bad", "bad", "good", "good"]


def test_relative_paths_and_folders_by_descriptor_are_matched_by_where_they_are(tmp_path: Path) -> None:
    body = (
        "os.chdir(os.path.dirname(p))\n"
        "here = os.open('.', os.O_RDONLY)\n"
        "for call in (lambda: open('target'), lambda: os.open('target', os.O_RDONLY, dir_fd=here)):\n"
        "    try: call(); print('good')\n"
        "    except OSError: print('bad')\n"
    )
    done = run(body, tmp_path, [Rule("open", f"{tmp_path}/target", errno.EACCES, nth=2)])
    assert done.stdout.split() == ["bad", "bad"], done.stderr


def test_a_process_is_killed_at_the_call_and_all_processes_can_count_together(tmp_path: Path) -> None:
    body = "for _ in range(3): os.fork()\nos.write(fd, b'x')\n"
    rules = [Rule("write", "*/target", kill=True, nth=5)]
    run(body, tmp_path, rules, tmp_path / "counts")
    assert [s.error for s in struck(tmp_path / "log")] == ["KILL"]  # one of eight
    alone = run("os.write(fd, b'x')\n" * 5, tmp_path, rules)
    assert alone.returncode == -signal.SIGKILL
    assert struck(tmp_path / "log")[-1] == Struck(
        struck(tmp_path / "log")[-1].pid, "write", "KILL", f"{tmp_path}/target"
    )


def test_a_call_can_be_delayed(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run("os.fsync(fd); print('good')", tmp_path, [Rule("fsync", "*/target", delay=0.4)])
    assert done.stdout.split() == ["good"]
    assert time.monotonic() - started >= 0.4
