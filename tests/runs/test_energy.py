"""The energy of segments and runs: measured, estimated, in part, unknown."""

import json
import time
from pathlib import Path

import pytest

from slipway.cli import main
from slipway.energy.record import Energy
from slipway.runs import ledger
from slipway.runs.energy import of_run, of_segment
from slipway.runs.lock import lock
from slipway.runs.lock.holder import Holder

GPUS = {"device": "cuda", "device_watts": 500.0}
MEASURED = Energy(joules={"NVML": 7.2e6}, counters={"NVML": 4})


@pytest.fixture
def segment(add_segment, tmp_path: Path):
    """A segment of an hour on four devices."""

    def make(energy: Energy | None, **facts: object) -> ledger.Segment:
        found = add_segment(tmp_path / "runs" / "alpha", 1, 5, code=0, **facts)
        return found.model_copy(update={"energy": energy})

    return make


def test_measured_where_every_device_was_counted(segment) -> None:
    found = of_segment(segment(MEASURED, **GPUS))
    assert (found.kwh, found.how) == (pytest.approx(2.0), "measured")
    assert "NVML on 4 devices" in found.source


def test_estimated_where_not_and_the_profile_has_the_power(segment) -> None:
    less = Energy(joules={"NVML": 7.2e6}, counters={"NVML": 3})
    for energy in (None, less):
        found = of_segment(segment(energy, **GPUS))
        assert (found.kwh, found.how) == (pytest.approx(4 * 0.5, rel=0.01), "estimate")
        assert "500 W" in found.source and found.in_words.startswith("≈")
    found = of_segment(segment(less, device="cuda"))
    assert (found.kwh, found.how) == (pytest.approx(2.0), "in part")
    assert of_segment(segment(None)).how == "unknown"


def test_a_run_is_known_as_well_as_its_worst_segment(segment) -> None:
    measured, estimate, none = segment(MEASURED, **GPUS), segment(None, **GPUS), segment(None)
    for segments, kwh, how in (
        ([measured, measured], 4.0, "measured"),
        ([measured, estimate], 4.0, "estimate"),
        ([measured, none], 2.0, "in part"),
        ([none], None, "unknown"),
        ([], None, "unknown"),
    ):
        found = of_run(segments)
        assert (found.kwh and pytest.approx(found.kwh, rel=0.01), found.how) == (kwh, how)


def test_a_killed_segment_keeps_what_its_last_step_had_counted(
    facts, tmp_path: Path, monkeypatch, capsys
) -> None:
    """And the next segment neither takes it over nor loses it."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "alpha"
    own = facts.model_copy(update=GPUS)
    now = time.time() - 100

    def line(step: int, joules: float) -> None:
        record = {"kind": "train", "time": now + step, "step": step, "loss": 1.0}
        record |= {"energy_joules": {"NVML": joules}, "energy_counters": {"NVML": 4}}
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    ledger.begin_segment(run, own, Holder.here(), 1, now, {})
    line(1, 1000.0)
    line(2, 3.6e6)
    second = ledger.begin_segment(run, own, Holder.here(), 2, now + 50, {})
    killed, fresh = ledger.read_segments(run, alive=True)
    assert killed.reason == "lost" and killed.energy and killed.energy.total == 3.6e6
    assert fresh.energy is None
    line(60, 7.2e6)
    ledger.end_segment(run, second, 0, now + 70)
    assert main(["runs", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["runs"]
    assert shown["energy_used"] == {
        "kwh": pytest.approx(3.0),
        "how": "measured",
        "source": "NVML on 4 devices",
    }
    assert main(["runs", "show", "alpha", "--json"]) == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert [one["energy_used"]["kwh"] for one in segments] == pytest.approx([1.0, 2.0])
    assert main(["runs", "show", "alpha"]) == 0
    assert "3 kWh (measured: NVML on 4 devices)" in capsys.readouterr().out
    assert main(["runs"]) == 0
    assert "kWh" in capsys.readouterr().out


def test_slurms_accounts_stand_in_for_counters(facts, tmp_path: Path, monkeypatch, capsys) -> None:
    """For jobs that are over and have one segment; one call for all of them."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "alpha"
    now = time.time()
    jobs = (("7", MEASURED), ("8", None), ("9", None), ("9", None), ("10", None))
    for number, (job, energy) in enumerate(jobs, start=1):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        own = facts.model_copy(update={"device": "cuda"})
        segment = ledger.begin_segment(run, own, Holder.here(), number, now, {"SLURM_JOB_NODELIST": "n[1-4]"})
        ended = None if number == len(jobs) else now + 60
        ledger.write(run, segment.model_copy(update={"ended": ended, "reason": "signal", "energy": energy}))
    sacct = tmp_path / "bin" / "sacct"
    sacct.parent.mkdir()
    sacct.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nprintf "7.0|1\\n8|\\n8.0|3600000\\n9.0|5\\n10.0|5\\n"\n'
    )
    sacct.chmod(0o755)
    monkeypatch.setenv("PATH", str(sacct.parent), prepend=":")
    held = lock.take(run)  # the last segment is under way
    try:
        assert main(["runs", "show", "alpha", "--json"]) == 0
    finally:
        held.release()
    shown = json.loads(capsys.readouterr().out)
    found = [one["energy_used"] for one in shown["segments"]]
    assert [one["kwh"] for one in found] == [2.0, 1.0, None, None, None]
    assert "job 8" in found[1]["source"] and found[1]["how"] == "measured"
    assert (shown["energy_used"]["kwh"], shown["energy_used"]["how"]) == (3.0, "in part")
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "--jobs=8 " in asked
    assert main(["runs", "show", "alpha"]) == 0
    assert "≥ 3 kWh" in capsys.readouterr().out
    sacct.write_text("#!/bin/sh\necho sacct: error: no accounts >&2\nexit 1\n")
    assert main(["runs", "show", "alpha"]) == 0
    assert "≥ 2 kWh" in capsys.readouterr().out
