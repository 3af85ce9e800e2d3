"""Measurements as jobs: what is printed and submitted; on a real Slurm of a few nodes, what comes of it."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import slurm_testbed
from refusals import check_line
from slipway import cli
from slipway.launch.schedulers import slurm as states

GPT = ["model=gpt3_125m", "launch.account=a", "cluster=juwels_booster", "launch.image=slipway.sif"]
NODES = ["--nodes", "1,2", "--scaling", "strong", "--repeats", "2", "--out", "out"]
SBATCH = {"sbatch": 'echo "$*" >>calls; wc -l <calls', "squeue": "exit 0", "sacct": "exit 0"}


class Here(NamedTuple):
    """The command in an empty folder of this process."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def scaling(self, *words: str, programs: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Exit code and outputs; programs: shell scripts that stand in for a scheduler's commands."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in (programs or {}).items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        code = cli.main(["bench", "scaling", *NODES, *words])
        said = self.capfd.readouterr()
        return code, said.out, said.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return Here(tmp_path, monkeypatch, capfd)


def test_a_dry_run_prints_a_script_for_each_size_and_writes_nothing(here: Here) -> None:
    code, out, err = here.scaling(*GPT)
    assert code == 0, err
    scripts = out.split("#!/usr/bin/env bash")[1:]
    assert len(scripts) == 2
    for nodes, script in zip((1, 2), scripts, strict=True):
        assert f"#SBATCH --nodes={nodes}\n" in script and "#SBATCH --array=0-1\n" in script
        assert "#SBATCH --time=00:30:00\n" in script and "chain=1\n" in script
        assert 'on_all bench train --steps 5 --warmup 2 --plan "$run_dir/job_plan.json"' in script
        assert script.count(f"run_dir=out/{nodes}x4-batch") == 2
        assert "on_all train" not in script
    assert "4 device-hours at most" in err  # 2 jobs x 1 node x 4 devices x half an hour
    assert [path.name for path in here.folder.iterdir()] == ["bin"]


def test_what_has_a_job_is_not_submitted_again(here: Here) -> None:
    (here.folder / "slipway.sif").touch()
    code, out, err = here.scaling(*GPT, "--submit", programs=SBATCH)
    assert (code, out.split()) == (0, ["1_[0-1]", "2_[0-1]"]), err
    (record,) = here.folder.glob("out/2x4-batch*/repeat2/launch.json")
    assert json.loads(record.read_text())["submissions"][0]["id"] == "2_1"

    name = json.loads(record.read_text())["submissions"][0]["name"]
    cells = {"State": "RUNNING", "Name": name, "exit_code": "0"}
    rows = [cells | {"JobArrayID": f"2_{index}"} for index in (0, 1)]
    lines = ["".join(row.get(one, "").ljust(width) for one, width in states.COLUMNS.items()) for row in rows]
    busy = {**SBATCH, "squeue": "\n".join(f"echo {shlex.quote(line)}" for line in lines)}
    code, out, err = here.scaling(*GPT, "--submit", programs=busy)
    assert code == 0, err
    assert (
        len((here.folder / "calls").read_text().splitlines()) == 3
    )  # the one node's jobs are gone, unmeasured
    assert "2 measurements have a job" in err


def test_kubernetes_gets_the_same_words(here: Here) -> None:
    words = ["cluster=gke", "launch.image=registry.example/slipway:cuda", "model=gpt3_125m"]
    code, out, err = here.scaling(*words)
    assert code == 0, err
    assert out.count("- bench\n") == 4
    assert "- train\n" in out and '"--plan"' in out


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["cluster=juwels_booster", "model=gpt3_125m"], "launch.account", ["launch.account=PROJECT"]),
        ([*GPT, "--json"], "bench scaling --json", ["--collect"]),
        ([*GPT, "--collect"], "bench scaling --collect", ["out"]),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    words: list[str], path: str, facts: list[object], here: Here
) -> None:
    code, out, err = here.scaling(*words)
    assert (code, out) == (2, "")
    check_line(err, path, *facts)


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    bool(slurm_testbed.lacking()), reason=f"no Slurm here: {', '.join(slurm_testbed.lacking())}"
)
def test_on_a_real_slurm(tmp_path: Path) -> None:
    """One submission, jobs on one and two nodes, collected afterwards. What stands in is the container alone."""
    folder, programs = tmp_path / "project", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    (folder / "slipway.sif").touch()
    outside = f'#!/bin/bash\nwhile [ "$1" != slipway.sif ]; do shift; done\nshift\n{sys.executable} -m "$@"\n'
    (programs / "apptainer").write_text(outside)
    (programs / "apptainer").chmod(0o755)
    words = [
        *(
            "bench",
            "scaling",
            "--nodes",
            "1,2",
            "--repeats",
            "1",
            "--steps",
            "1",
            "--warmup",
            "1",
            "--out",
            "out",
        ),
        *(
            "model=demo",
            "data=stdlib",
            "cluster=slurm",
            "cluster.device.kind=cpu",
            "launch.image=slipway.sif",
        ),
        *("model.num_layers=2", "model.hidden_size=32", "model.max_position_embeddings=32"),
        *("model.vocab_size=256", "training.global_batch_size=4", "training.micro_batch_size=1"),
        *("cluster.slurm.exclusive=false", "cluster.device.peak_tflops_fp32=0.1"),
    ]
    with slurm_testbed.running(tmp_path, slurm_testbed.NODES[:2]) as slurm:
        path = f"{programs}:{slurm.environment['PATH']}"

        def call(*more: str) -> subprocess.CompletedProcess[str]:
            return slurm.run([sys.executable, "-m", "slipway", *words, *more], folder, 120, PATH=path)

        done = call("--submit")
        assert done.returncode == 0, done.stderr
        jobs = done.stdout.split()
        assert len(jobs) == 3  # one node; two nodes, strong; two nodes, weak
        limit = time.monotonic() + 300
        while len(list(folder.glob("out/*/*/bench-train.json"))) < 3:
            logs = [log.read_text() for log in folder.glob("out/*/*/logs/*.out")]
            assert time.monotonic() < limit, "\n".join(logs)
            time.sleep(0.5)
        done = call("--collect", "--json")
        assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["scaling"], row["devices"], row["nodes"]) for row in rows] == [
        ("strong", 1, 1),
        ("strong", 2, 2),
        ("weak", 1, 1),
        ("weak", 2, 2),
    ]
    assert rows[1]["step_seconds"]["communication"] > 0
