"""When a segment ends early: the limits, the flags, the arithmetic. With real ranks: tests/faults/test_stopping.py."""

import json
import time
from pathlib import Path

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.ranks import signals
from slipway.train.stopping import (
    Durations,
    Pace,
    Stopping,
    check_slice,
    end_time,
    measured_pace,
    note_refusal,
    reasons,
)


def test_the_earliest_end_counts() -> None:
    soon = time.time() + 1000
    environment = {"SLURM_JOB_END_TIME": f"{soon + 1000}", "SLIPWAY_END_TIME": f"{soon}"}
    assert end_time(compose([]), {}) is None
    assert end_time(compose([]), environment) == pytest.approx(time.monotonic() + 1000, abs=30)
    limited = end_time(compose(["run.time_limit_minutes=1"]), environment)
    assert limited == signals.began + 60


@pytest.mark.parametrize("text", ["soon", "nan"])
def test_an_end_that_is_no_time(text: str) -> None:
    with pytest.raises(UserError, match=f"SLURM_JOB_END_TIME: '{text}' is not a time"):
        end_time(compose([]), {"SLURM_JOB_END_TIME": text})


def test_an_end_in_the_past_is_told_and_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """A variable left from another job, or a clock that was set: the job runs, whatever it says."""
    assert end_time(compose([]), {"SLURM_JOB_END_TIME": f"{time.time() - 5}"}) is None
    assert "SLURM_JOB_END_TIME" in capsys.readouterr().out


def test_a_clock_that_is_set_moves_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    end = end_time(compose([]), {"SLIPWAY_END_TIME": f"{time.time() + 1000}"})
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 5000)
    assert not Stopping(end).is_over()
    assert check_slice(end, Pace((5.0, 5.0), (1.0, 1.0), (1.0, 1.0))) is None


def test_over_when_another_step_would_leave_too_little_for_the_save() -> None:
    now, ten = time.monotonic(), Durations([10])
    assert not Stopping(None, ten, ten).is_over()
    assert not Stopping(now + 100, ten, ten).is_over()
    assert Stopping(now + 25, ten, ten).is_over()


def test_one_bad_moment_is_no_rule() -> None:
    for values, most in (([], 0), ([3], 3), ([3, 40], 40), ([3, 40, 2], 3), ([40, 3, 40], 40)):
        durations = Durations()
        for value in values:
            durations.add(value)
        assert durations.most == Durations(values).most == most


def test_reasons() -> None:
    assert reasons([0, 2, 0, 0, 1]) == ["SIGTERM", "wall time"]
    assert reasons([0, 0, 0, 1, 0]) == ["SIGHUP"]
    assert reasons([0, 0, 0, 0, 0]) == []


def measurements(*rows: tuple[float, float, float]) -> str:
    """Lines of metrics.jsonl; a row: seconds of a start, a step and a save."""
    lines = []
    for start, step, save in rows:
        lines.append({"kind": "event", "event": "start", "step": 0, "seconds": start})
        lines.append({"kind": "train", "step": 1, "step_seconds": step})
        lines.append({"kind": "checkpoint", "step": 1, "seconds": save})
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_the_least_that_was_measured_refuses_a_slice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        measurements((5.0, 2.0, 3.0), (500.0, 4.0, 40.0)) + 'null\n{"event": "start"}\n{"kind": "tr'
    )
    pace = measured_pace(path)
    assert [list(found) for found in (pace.starts, pace.steps, pace.saves)] == [[5, 500], [2, 4], [3, 40]]
    assert check_slice(time.monotonic() + 20, pace) is None
    assert check_slice(None, pace) is None
    with refused("run.time_limit_minutes or the job's end", "5.0", "2.0", 2, "3.0", "13.0"):
        check_slice(time.monotonic() + 12, pace)


def test_one_measurement_refuses_nothing() -> None:
    warning = check_slice(time.monotonic() + 12, Pace((500.0,), (1.0,), (1.0,)))
    assert warning is not None and "500.0 s" in warning


def test_a_refusal_comes_once(tmp_path: Path) -> None:
    """Then the slice is tried, and what that measures counts."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(measurements(*[(500.0, 2.0, 40.0)] * 3) + '{"kind": "torn')
    with pytest.raises(UserError):
        check_slice(time.monotonic() + 60, measured_pace(path))
    note_refusal(path, step=1)
    assert check_slice(time.monotonic() + 60, measured_pace(path)) is not None
    with path.open("a") as file:
        file.write(measurements((4.0, 2.0, 3.0)))
    assert not measured_pace(path).refused
    assert check_slice(time.monotonic() + 60, measured_pace(path)) is None
