"""What starts warm is a process as any other, to those who start it and to itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import warm

REPORT = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), os.environ.get("MINE"), sys.stdin.read(), __name__]))
print("seen", file=sys.stderr)
assert "slipway.ranks.signals" not in sys.modules, "it remembers another process's start"
sys.exit(7)
"""


def test_words_folder_environment_streams_and_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REPORT, "a b"]
    options = {"cwd": tmp_path, "env": {**os.environ, "MINE": "x"}}
    found = warm.run(command, input="given", capture_output=True, **options)
    cold = subprocess.run(command, input="given", capture_output=True, text=True, **options)
    assert (found.returncode, found.stdout, found.stderr) == (7, cold.stdout, cold.stderr)


@pytest.mark.parametrize(
    "program",
    ["raise ValueError('wrong')", "import sys; sys.exit('words')", "import os; os.kill(os.getpid(), 9)"],
)
def test_ends_are_those_of_an_interpreter(program: str) -> None:
    command = [sys.executable, "-c", program]
    found, cold = (
        warm.run(command, capture_output=True),
        subprocess.run(command, capture_output=True, text=True),
    )
    assert found.returncode == cold.returncode
    assert found.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_it_can_be_asked_signalled_and_waited_for() -> None:
    with warm.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM


def test_what_is_read_at_a_start_starts_cold() -> None:
    for name in ("LD_PRELOAD", "OMP_NUM_THREADS", "PYTHONHASHSEED"):
        with warm.start([sys.executable, "-c", ""], env={**os.environ, name: ""}) as process:
            assert type(process) is subprocess.Popen


def test_so_does_what_a_test_sets_for_all_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    with warm.start([sys.executable, "-c", ""]) as process:
        assert type(process) is subprocess.Popen
