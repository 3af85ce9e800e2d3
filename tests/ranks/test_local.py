"""One rank's failure ends all, with that rank's error; nothing outlives the parent."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

import warm

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from slipway.errors import Fault, UserError
from slipway.ranks.local import run_local

def body(place):
    begun = Path(sys.argv[1], f"begun-{place.rank}")
    begun.write_text(str(os.getpid()))
    begun.rename(begun.with_name(f"pid-{place.rank}"))  # never seen half written
    print("hello from", place.rank, flush=True)
    FAILURE
    return 0

try:
    sys.exit(run_local(4, Path(sys.argv[1]) / "logs", body))
except (Fault, UserError) as error:
    print(f"slipway: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UserError) else 1)
"""


def run(tmp_path: Path, failure: str) -> tuple[int, str, float]:
    """Exit code, standard error and seconds of four ranks that fail as given."""
    started = time.monotonic()
    words = [sys.executable, "-c", PROGRAM.replace("FAILURE", failure), str(tmp_path)]
    done = warm.run(words, capture_output=True, timeout=60)
    return done.returncode, done.stderr, time.monotonic() - started


def pids(tmp_path: Path) -> list[int]:
    return [int(path.read_text()) for path in tmp_path.glob("pid-*")]


def test_all_well(tmp_path: Path) -> None:
    code, errors, _ = run(tmp_path, "pass")
    assert (code, errors) == (0, "")
    assert (tmp_path / "logs" / "rank-00003.log").read_text() == "hello from 3\n"


def test_one_rank_raises_the_others_wait_for_ever(tmp_path: Path) -> None:
    code, errors, seconds = run(
        tmp_path, "time.sleep(0.3)\n    if place.rank == 2: raise RuntimeError('boom')\n    time.sleep(600)"
    )
    assert code == 1
    assert "slipway: rank 2: " in errors
    assert "RuntimeError: boom" in errors
    assert seconds < 30
    assert not any(psutil.pid_exists(pid) for pid in pids(tmp_path))


def test_the_first_error_is_shown_not_its_echo(tmp_path: Path) -> None:
    failure = (
        "if place.rank == 3: raise RuntimeError('cause')\n    time.sleep(0.5)\n    raise RuntimeError('echo')"
    )
    code, errors, _ = run(tmp_path, failure)
    assert code == 1
    assert "cause" in errors
    assert "echo" not in errors


def test_a_killed_rank_is_named(tmp_path: Path) -> None:
    code, errors, _ = run(
        tmp_path, "if place.rank == 1: os.kill(os.getpid(), signal.SIGKILL)\n    time.sleep(600)"
    )
    assert code == 1
    assert "slipway: rank 1: " in errors and "SIGKILL" in errors


def test_a_users_error_is_one_line(tmp_path: Path) -> None:
    code, errors, _ = run(
        tmp_path,
        "if place.rank == 1: raise UserError('a.b', 'is wrong', value=3, use='4')\n    time.sleep(600)",
    )
    assert (code, errors) == (2, "slipway: a.b: 3 is wrong; use 4\n")


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    code, errors, _ = run(tmp_path, "if place.rank == 1: open('/nowhere/file')\n    time.sleep(600)")
    assert code == 1
    assert errors.startswith("slipway: /nowhere/file: No such file") and errors.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_ranks_die_with_their_parent(tmp_path: Path) -> None:
    parent = warm.start([sys.executable, "-c", PROGRAM.replace("FAILURE", "time.sleep(600)"), str(tmp_path)])
    limit = time.monotonic() + 30
    while len(pids(tmp_path)) < 4 and time.monotonic() < limit:
        time.sleep(0.05)
    children = pids(tmp_path)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(30)
    while any(psutil.pid_exists(pid) for pid in children) and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(children) == 4
    assert not any(psutil.pid_exists(pid) for pid in children)
