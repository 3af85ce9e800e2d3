"""`slipway bench gpu` itself, on cheap parts of a rehearsal: refusals, resuming, interruption, limits."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from processes import output_of, started, wait_until
from refusals import check_line
from slipway.bench.gpu import device
from slipway.bench.gpu.parts import PARTS
from training import slipway

BENCH = (sys.executable, "-m", "slipway", "bench", "gpu")


def results(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "parts").glob("*.json")}


def rehearse(folder: Path, *words: str) -> Any:
    return slipway("bench", "gpu", "--rehearse", "--out", "found", *words, cwd=folder)


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        ([], "bench gpu", ["--rehearse"]),
        (["--part", "kernel"], "bench gpu --part", ["kernel", "kernels"]),
        (["--minutes", "0"], "bench gpu --minutes", ["0"]),
        (["model=demo"], "bench gpu", ["model=demo"]),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    words: list[str], path: str, facts: list[object], tmp_path: Path
) -> None:
    done = slipway("bench", "gpu", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    check_line(done.stderr, path, *facts)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_lists_the_parts_and_leaves_nothing(tmp_path: Path) -> None:
    done = slipway("bench", "gpu", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [part.name for part in PARTS]
    assert not list(tmp_path.iterdir())


@pytest.mark.faults
def test_an_interrupted_call_has_shown_what_it_found_and_the_next_one_goes_on(tmp_path: Path) -> None:
    words = ["--rehearse", "--out", "found", "--part", "doctor,operators"]
    with started(words, tmp_path, command=BENCH) as process:
        wait_until(lambda: (tmp_path / "found/logs/operators.log").exists(), process)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    first = results(tmp_path / "found")
    assert list(first) == ["doctor"] and first["doctor"]["verdict"] == "passed", output_of(process, tmp_path)
    record = json.loads((tmp_path / "found/bench-gpu.json").read_text())
    assert [part["part"] for part in record["parts"]] == ["doctor"]
    assert "| doctor | passed |" in (tmp_path / "found/bench-gpu.md").read_text()

    done = rehearse(tmp_path, "--part", "doctor,operators")
    assert done.returncode == 0, done.stdout + done.stderr
    after = results(tmp_path / "found")
    assert after["doctor"] == first["doctor"] and after["operators"]["verdict"] == "passed"
    assert (tmp_path / "found/bench-gpu.png").read_bytes().startswith(b"\x89PNG")

    again = rehearse(tmp_path, "--part", "doctor", "--again", "--json")
    assert again.returncode == 0, again.stderr
    record = json.loads(again.stdout)
    assert [part["part"] for part in record["parts"]] == ["doctor", "operators"]
    assert results(tmp_path / "found")["doctor"]["date"] > first["doctor"]["date"]


def test_what_does_not_fit_into_the_call_is_left_for_the_next_one(tmp_path: Path) -> None:
    done = rehearse(tmp_path, "--part", "doctor,operators", "--minutes", "0.001")
    assert done.returncode == 75, done.stdout + done.stderr
    assert {name: one["verdict"] for name, one in results(tmp_path / "found").items()} == {
        "doctor": "not begun",
        "operators": "not begun",
    }


def test_results_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    folder = tmp_path / "found/parts"
    folder.mkdir(parents=True)
    other = device.rehearsal().plain() | {"name": "GPU X"}
    old = {"part": "kernels", "verdict": "passed", "date": "2026-12-01T10:00:00", "device": other}
    (folder / "kernels.json").write_text(json.dumps(old))
    done = rehearse(tmp_path, "--part", "doctor")
    assert (done.returncode, done.stdout) == (2, "")
    check_line(done.stderr, "bench gpu --out", "name", "--again")
    done = rehearse(tmp_path, "--part", "doctor", "--again", "--minutes", "0.001")
    assert done.returncode == 75, done.stderr
    assert list(results(tmp_path / "found")) == ["doctor"]


def test_a_launchers_variables_do_not_reach_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "3")
    left = device.environment()
    assert left["CUDA_VISIBLE_DEVICES"] == "3" and left["PATH"] == os.environ["PATH"]
    assert not {"RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"} & left.keys()


@pytest.mark.parametrize("module", ["nvidia", "amdgpu"])
def test_the_drivers_version_is_the_kernel_modules(module: str, tmp_path: Path) -> None:
    assert device.driver(tmp_path) is None
    (tmp_path / "sys/module" / module).mkdir(parents=True)
    (tmp_path / "sys/module" / module / "version").write_text("6.8.5\n")
    assert device.driver(tmp_path) == "6.8.5"
