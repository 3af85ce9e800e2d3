"""`slipway runs` over run directories of every state."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.cli import main
from slipway.runs.lock import lock
from slipway.runs.overview import find


@pytest.fixture
def runs(tmp_path: Path, add_segment, monkeypatch) -> Path:
    """A folder `runs` in the current folder with one run of each state."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs")
    add_segment(folder / "done", 1, 60, code=75, stop="SIGTERM", name="done")
    add_segment(folder / "done", 61, 100, code=0, hours=0.5, name="done")
    add_segment(folder / "paused", 1, 30, code=75, stop="wall time", name="paused")
    add_segment(folder / "broke", 1, 30, code=1, name="broke")
    add_segment(folder / "gone", 1, 30, code=None, name="gone")
    add_segment(folder / "sweep" / "lr=1", 1, 30, code=0, name="sweep-1")
    add_segment(folder / "fresh", 1, 0, code=None, name="fresh", steps=7)
    return folder


def listed(capsys, *words: str) -> dict[str, dict]:
    assert main(["runs", "--json", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["unreadable"] == []
    return {run["name"]: run for run in answer["runs"]}


def test_every_state(runs: Path, capsys) -> None:
    held = lock.take(runs / "fresh")
    try:
        found = listed(capsys)
        assert main(["runs"]) == 0
    finally:
        held.release()
    assert {name: (run["state"], run["why"]) for name, run in found.items()} == {
        "done": ("finished", None),
        "paused": ("stopped", "wall time"),
        "broke": ("failed", None),
        "gone": ("lost", None),
        "sweep-1": ("stopped", "stop_after_step"),
        "fresh": ("running", None),
    }
    assert found["fresh"]["holder"]["pid"] == os.getpid()
    done = found["done"]
    assert (done["step"], done["steps"], done["segments"], done["loss"]) == (100, 100, 2, 0.1)
    assert done["device_hours"] == pytest.approx(6.0, abs=0.02)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.strip().startswith("done"))
    assert row.split()[:7] == ["done", "demo", "TP2", "×", "DP2", "100/100", "0.1000"]
    assert any(
        "fresh" in line and f"running on {os.uname().nodename}" in line and "-/7" in line for line in lines
    )
    assert listed(capsys)["fresh"]["state"] == "lost"


def test_show_prints_the_segments(runs: Path, capsys) -> None:
    assert main(["runs", "show", "done"]) == 0
    text = capsys.readouterr().out
    first, second = (line.split() for line in text.splitlines() if line.split()[:1] in (["1"], ["2"]))
    assert "1-60" in first and "signal" in first and "(SIGTERM)" in first and "1 h 00 min" in " ".join(first)
    assert "61-100" in second and "finished" in second and "30 min 00 s" in " ".join(second)
    assert "step 100/100, loss 0.1000" in text and "device-hours  6" in text


@pytest.mark.parametrize("name", ["gone", "runs/gone", "sweep-1", "lr=1", "sweep/lr=1"])
def test_a_run_has_several_names(runs: Path, capsys, name: str) -> None:
    assert main(["runs", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["dir"] == ("runs/gone" if "gone" in name else "runs/sweep/lr=1")
    (segment,) = shown["segments"]
    assert segment["last_step"] == 30 and segment["facts"]["layout"] == {"TP": 2, "PP": 1, "DP": 2}
    assert segment["reason"] == ("lost" if "gone" in name else "stop_after_step")


def test_another_folder(runs: Path, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir("/")
    assert set(listed(capsys, "--dir", str(tmp_path / "runs" / "sweep"))) == {"sweep-1"}
    assert main(["runs", "show", "gone", "--dir", str(tmp_path / "runs")]) == 0


def test_a_run_from_before_the_ledger(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--json", "training.steps=9"]) == 0
    run = tmp_path / "runs" / "old"
    run.mkdir(parents=True)
    (run / "plan.json").write_text(capsys.readouterr().out)
    line = {"kind": "train", "time": time.time(), "step": 9, "loss": 2.5}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (old,) = listed(capsys).values()
    assert (old["name"], old["state"], old["step"], old["steps"], old["segments"]) == (
        "demo",
        "finished",
        9,
        9,
        0,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["show", "pausd"], "did you mean paused? (valid: "),
        (["show"], "got 0"),
        (["show", "a", "b"], "got 2"),
        (["shw", "done"], "did you mean show?"),
        (["--dir", "nowhere"], "runs --dir: nowhere"),
        (["show", "done", "--dir", "runs/sweep"], "no such run in runs/sweep"),
        (["show", "x", "--dir", "."], "no such run in ."),
        (["--jsn"], "runs --jsn: no such option; did you mean --json?"),
        (["--dir"], "runs --dir: "),
    ],
)
def test_mistakes_are_one_line(runs: Path, capsys, words: list[str], expected: str) -> None:
    assert main(["runs", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and expected in err and len(err.splitlines()) == 1


def test_a_name_that_two_runs_have(runs: Path, add_segment, capsys) -> None:
    add_segment(runs / "more" / "gone", 1, 1, code=0)
    assert main(["runs", "show", "gone"]) == 2
    assert "2 runs have this name: runs/gone, runs/more/gone" in capsys.readouterr().err


def test_a_broken_record_hides_no_other_run(runs: Path, capsys) -> None:
    (runs / "gone" / "segments" / "0001.json").write_text("{")
    assert main(["runs"]) == 0
    text = capsys.readouterr().out
    assert "paused" in text and "runs/gone/segments/0001.json: is not a segment's record" in text


def test_a_run_is_shown_without_its_broken_records(runs: Path, add_segment, capsys) -> None:
    add_segment(runs / "gone", 31, 32, code=0)
    (runs / "gone" / "segments" / "0001.json").write_text("{")
    (runs / "gone" / "launch.json").write_text("[]")
    assert main(["runs", "show", "gone"]) == 0
    text = capsys.readouterr().out
    assert "31-32" in text
    for broken in ("segments/0001.json: is not a segment's record", "launch.json: is not a record"):
        assert f"runs/gone/{broken}" in text
    assert main(["runs", "show", "gone", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["unreadable"]) == 2
    assert main(["runs", "cancel", "gone"]) == 2  # what must be known is not guessed


def test_no_runs(tmp_path: Path, capsys) -> None:
    assert main(["runs", "--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    assert main(["runs", "show", "x", "--dir", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err


def test_help(capsys) -> None:
    assert main(["runs", "--help"]) == 0
    assert "slipway runs show NAME|DIR" in capsys.readouterr().out


def test_fifty_runs_without_torch_below_a_second(tmp_path: Path, add_segment) -> None:
    line = (
        json.dumps({"kind": "train", "time": time.time(), "step": 1, "loss": 1.0, "more": "x" * 300}) + "\n"
    )
    for number in range(50):
        run = tmp_path / f"run-{number}"
        add_segment(run, 1, 5, code=0, name=run.name)
        text = (run / "metrics.jsonl").read_text()
        (run / "metrics.jsonl").write_text(line * 2000 + text)  # 0.8 MB each, as of a long run
    assert len(list(find(tmp_path))) == 50
    program = (
        "import sys, resource; from slipway.cli import main; code = main(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('HEAVY', sorted({'torch', 'megatron', 'hydra', 'numpy'} & set(sys.modules)))\n"
        "print(used.ru_utime + used.ru_stime); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "runs", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *_, heavy, seconds = done.stdout.splitlines()
    assert heavy == "HEAVY []" and "run-49" in done.stdout
    assert float(seconds) < 1  # of processor time: what others do on the machine does not count
