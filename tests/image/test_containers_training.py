"""The same image trains the same model under podman, under Apptainer and as outside of both."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from container_tools import MIDDLE, NOBODY, RUN, STEPS, Runtime, good, measured, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]


@pytest.fixture(params=["podman", "apptainer"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.getfixturevalue(request.param)


def test_losses_are_those_outside(runtime: Runtime, run_folder: Path, outside: Path) -> None:
    """Read-only, as a user without rights, with nothing of the host but the run folder."""
    look = "id -u; touch /opt/slipway/new; touch /work/new"
    seen = run(runtime.command(run_folder, ["sh", "-c", look]))
    assert seen.returncode == 0 and seen.stdout.strip() == str(os.getuid() or NOBODY)
    assert "Read-only file system" in seen.stderr
    good(runtime.train(run_folder, f"training.steps={STEPS}", f"run.dir={runtime.name}"))
    there, here = measured(run_folder / runtime.name), measured(outside)
    assert [step for step, *_ in there] == list(range(1, STEPS + 1))
    assert there == here


@pytest.mark.parametrize("first", ["podman", "apptainer"])
def test_a_run_goes_on_in_the_other_runtime(
    first: str, podman: Runtime, apptainer: Runtime, run_folder: Path, outside: Path
) -> None:
    """Stopped in one, continued in the other: the losses of one run that was never stopped."""
    one, other = (podman, apptainer) if first == "podman" else (apptainer, podman)
    words = [f"training.steps={STEPS}", f"run.dir=from-{first}"]
    good(one.train(run_folder, *words, f"training.stop_after_step={MIDDLE}"))
    assert len(measured(run_folder / f"from-{first}")) == MIDDLE
    good(other.train(run_folder, *words))
    assert measured(run_folder / f"from-{first}") == measured(outside)


def test_sigterm_stops_with_a_checkpoint(runtime: Runtime, run_folder: Path, tmp_path: Path) -> None:
    """As a scheduler or `podman stop` does: exit code 75, and nothing beyond the last step is lost."""
    run_dir = run_folder / f"stopped-{runtime.name}"
    command = runtime.command(
        run_folder, ["slipway", "train", *RUN, "training.steps=5000", f"run.dir={run_dir.name}"]
    )
    if runtime.name == "podman":
        command[2:2] = ["--name", "slipway-test-stop"]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        limit = time.monotonic() + 120
        while not (run_dir / "metrics.jsonl").exists() or len(measured(run_dir)) < 3:
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < limit, (tmp_path / "output").read_text()
            time.sleep(0.1)
        if runtime.name == "podman":
            good(run(["podman", "stop", "--time", "60", "slipway-test-stop"]))
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75, (tmp_path / "output").read_text()
    finally:
        process.kill()
        process.wait()
    steps = [step for step, *_ in measured(run_dir)]
    assert steps[-1] < 5000
    assert (run_dir / "checkpoints" / f"step-{steps[-1]:08d}" / "manifest.json").is_file()
    shown = good(run(runtime.command(run_folder, ["slipway", "runs", "show", run_dir.name, "--json"])))
    assert "SIGTERM" in shown
