"""When a segment ends early: the limits, the flags, the arithmetic. With real ranks: tests/faults/test_stopping.py."""

import time
from pathlib import Path

import pytest

from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.train.stopping import Pace, Stopping, check_slice, end_time, measured_pace, reasons


def test_the_earliest_end_counts() -> None:
    environment = {"SLURM_JOB_END_TIME": "2000000000", "SLIPWAY_END_TIME": "1900000000"}
    assert end_time(compose([]), {}) is None
    assert end_time(compose([]), environment) == 1900000000
    limited = end_time(compose(["run.time_limit_minutes=1"]), environment)
    assert limited is not None
    assert limited < time.time() + 60


def test_an_end_that_is_no_time() -> None:
    with pytest.raises(UserError, match="SLURM_JOB_END_TIME: 'soon' is not a time"):
        end_time(compose([]), {"SLURM_JOB_END_TIME": "soon"})


def test_over_when_another_step_would_leave_too_little_for_the_save() -> None:
    now = time.time()
    assert not Stopping(None, 10, 10).is_over()
    assert not Stopping(now + 100, save_seconds=10, step_seconds=10).is_over()
    assert Stopping(now + 25, save_seconds=10, step_seconds=10).is_over()


def test_reasons() -> None:
    assert reasons([0, 2, 0, 1]) == ["SIGTERM", "wall time"]
    assert reasons([0, 0, 0, 0]) == []


def test_pace_and_the_refused_slice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"kind": "event", "event": "start", "step": 0, "seconds": 5.0}\n'
        '{"kind": "train", "step": 1, "step_seconds": 2.0}\n'
        '{"kind": "checkpoint", "step": 1, "seconds": 3.0}\n{"kind": "tr'
    )
    pace = measured_pace(path)
    assert pace == Pace(start=5.0, step=2.0, save=3.0)
    check_slice(time.time() + 20, pace)
    check_slice(None, pace)
    with pytest.raises(UserError, match="start 5.0 s .* step 2.0 s .* save 2 x 3.0 s = 13.0 s"):
        check_slice(time.time() + 12, pace)
