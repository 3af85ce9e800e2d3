"""A segment around a training that is a few lines long: the record it leaves, whatever happens inside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.errors import Fault, UserError
from slipway.plan import Plan, make_plan, plan_file
from slipway.runs.ledger import read_segments
from slipway.runs.lock import holder as holder_file
from slipway.runs.lock.holder import Holder
from slipway.runs.lock.lock import holder_of
from slipway.runs.segment import check_free, run_segment


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(compose(["model=demo", f"run.dir={tmp_path / 'run'}", "training.steps=5"]))


def trainer(
    run_dir: Path, last: int, outcome: int | type[BaseException], stop: str = ""
) -> Callable[[], int]:
    """Writes the metrics of steps up to `last`, then returns or raises the outcome."""

    def body() -> int:
        assert holder_of(run_dir, time.time()) is not None
        (open_record,) = read_segments(run_dir, alive=True)
        assert open_record.reason is None
        with (run_dir / "metrics.jsonl").open("a") as file:
            for step in range(1, last + 1):
                file.write(json.dumps({"kind": "train", "time": time.time(), "step": step, "loss": 1}) + "\n")
            if stop:
                file.write(
                    json.dumps({"kind": "event", "step": last, "event": "stop", "reason": stop}) + "\n"
                )
        if isinstance(outcome, int):
            return outcome
        raise outcome("no more")

    return body


@pytest.mark.parametrize(
    ("last", "outcome", "stop", "expected"),
    [
        (5, 0, "", ("finished", None, 0)),
        (3, 0, "", ("stop_after_step", None, 0)),
        (3, 75, "SIGTERM", ("signal", "SIGTERM", 75)),
        (3, 75, "wall time", ("wall time", None, 75)),
        (3, 1, "", ("failed", None, 1)),
        (3, 2, "", ("user error", None, 2)),
        (0, UserError, "", ("user error", "no more", 2)),
        (3, Fault, "", ("failed", "no more", 1)),
        (3, KeyboardInterrupt, "", ("interrupted", None, 130)),
        (3, RuntimeError, "", ("failed", None, 1)),
    ],
)
def test_the_record_says_how_it_ended(plan: Plan, last: int, outcome, stop: str, expected: tuple) -> None:
    run_dir, started = plan.config.run.dir, time.time() - 7
    body = trainer(run_dir, last, outcome, stop)
    if isinstance(outcome, int):
        assert run_segment(plan, check_free(run_dir), 1, started, body) == outcome
    else:
        with pytest.raises(outcome, match="no more"):
            run_segment(plan, check_free(run_dir), 1, started, body)
    (segment,) = read_segments(run_dir, alive=False)
    assert (segment.reason, segment.detail, segment.exit_code) == expected
    assert (segment.last_step, segment.started, segment.pid) == (last or None, started, os.getpid())
    assert segment.ended is not None and segment.ended - started >= 7
    assert holder_of(run_dir, time.time()) is None


def test_a_start_that_was_overtaken_is_refused(plan: Plan) -> None:
    """Between its look for a checkpoint and the lock, another start trained and ended."""
    run_dir = plan.config.run.dir
    seen = check_free(run_dir)
    assert run_segment(plan, seen, 1, time.time(), trainer(run_dir, 3, 0)) == 0
    with refused("run.dir"):
        run_segment(plan, seen, 1, time.time(), trainer(run_dir, 3, 0))
    assert check_free(run_dir) == 1
    assert holder_of(run_dir, time.time()) is None


TAKEN_OVER = """
import sys, time
from pathlib import Path
from slipway.plan import plan_file
from slipway.runs import segment
segment.BEAT_SECONDS = 0.1
def body():
    print("training", flush=True)
    time.sleep(60)
segment.run_segment(plan_file.read(Path(sys.argv[1])), 0, 1, time.time(), body)
"""


def test_a_trainer_that_was_taken_over_ends(plan: Plan, tmp_path: Path) -> None:
    plan_file.write(plan, tmp_path / "plan.json")
    process = subprocess.Popen(
        [sys.executable, "-c", TAKEN_OVER, str(tmp_path / "plan.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "training\n"
        other = Holder(host="node7", machine="another", pid=1, job=None, since=0.0)
        holder_file.write(plan.config.run.dir, other)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "was taken over by node7" in errors and len(errors.splitlines()) == 1
    found = holder_file.read(plan.config.run.dir)
    assert found is not None and found[0] == other


FORKS = """
import os, signal, time
from slipway.runs.lock.heartbeat import Heartbeat
beats, busy = [], [False]
def beat():
    busy[0] = True
    time.sleep(0.005)
    beats.append(1)
    busy[0] = False
heart = Heartbeat(0.001, beat)
for _ in range(50):
    time.sleep(0.003)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        half_done = busy[0]
        Heartbeat(0.001, beat).stop()  # a child's own heart is not held back for ever
        os._exit(1 if half_done else 0)
    assert os.waitpid(pid, 0)[1] == 0
heart.stop()
seen = len(beats)
time.sleep(0.05)
assert len(beats) == seen > 0, beats
"""


def test_forks_and_beats_do_not_meet() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
