"""`slipway launch`: what it prints where, what it submits, and how."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import breadth
import warm
from presets import preset
from refusals import check_line
from slipway.config.compose import compose
from slipway.config.sweep_compose import compose_sweep
from slipway.launch import slurm
from slipway.launch.command import offline
from slipway.launch.placement import place
from slipway.launch.schedulers import slurm as states
from slipway.launch.summary import matters, rows
from slipway.plan import make_plan


def launch(
    *words: str, cwd: Path, programs: dict[str, str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a folder; programs: shell scripts that stand in for a scheduler's commands."""
    folder = cwd / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in (programs or {}).items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return warm.run(
        [sys.executable, "-m", "slipway", "launch", *words],
        cwd=cwd,
        env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin", **environment},
        capture_output=True,
        timeout=120,
    )


def test_a_dry_run_prints_the_script_alone_and_writes_nothing(tmp_path: Path) -> None:
    done = launch("cluster=juwels_booster", "launch.account=a", "--chain", "4", "--preflight", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = compose(
        ["cluster=juwels_booster", "launch.account=a", "launch.chain=4", "launch.preflight=true"]
    )
    assert done.stdout == slurm.render([make_plan(config)], place(config), tmp_path)
    assert "1 x 4 NVIDIA-A100-SXM4-40GB = 4 devices" in done.stderr and "4 at most" in done.stderr
    assert "\x1b" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_sweep_is_one_script(tmp_path: Path) -> None:
    done = launch("cluster=slurm", "-m", "training.seed=1,2,3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-2" in done.stdout and done.stdout.count("SLIPWAY_PLAN_JSON") == 2
    assert "3 runs, each 1 x 1" in done.stderr


SBATCH = {
    "sbatch": 'echo "$*" >>calls; env >environment; echo "7;site"',
    "squeue": "exit 0",
    "sacct": "exit 0",
}


def test_submitting_is_one_call_and_a_record(tmp_path: Path) -> None:
    (tmp_path / "slipway.sif").touch()
    inside = {"SLURM_JOB_ID": "3", "SBATCH_ACCOUNT": "b", "SLURM_CONF": "/etc/slurm.conf"}
    done = launch("cluster=slurm", "--submit", cwd=tmp_path, programs=SBATCH, **inside)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
    assert (tmp_path / "calls").read_text() == "--parsable runs/demo/job.sh\n"
    given = (tmp_path / "environment").read_text()
    assert "SLURM_CONF=/etc/slurm.conf" in given
    assert "SLURM_JOB_ID" not in given and "SBATCH_ACCOUNT" not in given
    (one,) = json.loads((tmp_path / "runs/demo/launch.json").read_text())["submissions"]
    assert (one["id"], one["name"], one["cluster"], one["image"]) == ("7", "demo", "slurm", "slipway.sif")
    assert (tmp_path / "runs/demo/logs").is_dir()
    assert "slipway runs cancel demo" in done.stderr


def test_a_job_that_is_still_ending_is_in_the_way(tmp_path: Path) -> None:
    """As after `runs cancel --no-wait`: its processes may still write."""
    (tmp_path / "slipway.sif").touch()
    assert launch("cluster=slurm", "--submit", cwd=tmp_path, programs=SBATCH).returncode == 0
    cells = {"JobArrayID": "7", "State": "COMPLETING", "Name": "demo", "exit_code": "0"}
    row = "".join(cells.get(name, "").ljust(width) for name, width in states.COLUMNS.items())
    busy = {**SBATCH, "squeue": f"echo '{row}'"}
    done = launch("cluster=slurm", "--submit", cwd=tmp_path, programs=busy)
    assert done.returncode == 2 and "job 7" in done.stderr and len(done.stderr.splitlines()) == 1
    assert (tmp_path / "calls").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "said",
    ["printf '*** Welcome ***\\n\\n4711;site\\nBye\\n'", "echo Submitted batch job 4711", "echo ' 4711 '"],
)
def test_a_sites_words_around_the_number(said: str, tmp_path: Path) -> None:
    (tmp_path / "slipway.sif").touch()
    done = launch("cluster=slurm", "--submit", cwd=tmp_path, programs={**SBATCH, "sbatch": said})
    assert (done.returncode, done.stdout) == (0, "4711\n"), done.stderr
    (one,) = json.loads((tmp_path / "runs/demo/launch.json").read_text())["submissions"]
    assert one["id"] == "4711"


def test_a_job_whose_number_nobody_knows_is_not_submitted_twice(tmp_path: Path) -> None:
    """sbatch says none: the queue knows it by its name, and if not, the run waits until no such job is there."""
    (tmp_path / "slipway.sif").touch()
    mute = {**SBATCH, "sbatch": "echo x >>calls; echo Thanks"}
    queue = """case "$*" in *--format=%F*) [ -e known ] && echo "4711 $(date +%s)";; *) cat rows 2>/dev/null;; esac"""
    words = ["cluster=slurm", "--submit"]
    done = launch(*words, cwd=tmp_path, programs={**mute, "squeue": queue})
    assert done.returncode == 1 and "squeue --me --name=demo" in done.stderr.splitlines()[-1], done.stderr
    row = {"JobArrayID": "4711", "State": "PENDING", "Name": "demo", "exit_code": "0"}
    text = "".join(row.get(name, "").ljust(width) for name, width in states.COLUMNS.items())
    (tmp_path / "rows").write_text(f"A banner of the site's\n{text}\n")
    done = launch(*words, cwd=tmp_path, programs={})
    assert done.returncode == 2
    check_line(done.stderr, "run.dir", "demo", "pending", "`slipway runs cancel demo`")
    words_of_cancel = [sys.executable, "-m", "slipway", "runs", "cancel", "demo"]
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    cancel = subprocess.run(
        words_of_cancel, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True
    )
    assert cancel.returncode == 2 and b"squeue --me --name=demo" in cancel.stderr
    (tmp_path / "rows").unlink()
    (tmp_path / "known").touch()
    done = launch(*words, cwd=tmp_path, programs={})
    assert (done.returncode, done.stdout) == (0, "4711\n"), done.stderr
    assert (tmp_path / "calls").read_text() == "x\nx\n"
    ids = [one["id"] for one in json.loads((tmp_path / "runs/demo/launch.json").read_text())["submissions"]]
    assert ids == [None, "4711"]


def test_each_run_of_a_sweep_has_its_record(tmp_path: Path) -> None:
    (tmp_path / "slipway.sif").touch()
    done = launch("-m", "cluster=slurm", "training.seed=1,2", "--submit", cwd=tmp_path, programs=SBATCH)
    assert (done.returncode, done.stdout) == (0, "7_[0-1]\n"), done.stderr
    assert (tmp_path / "calls").read_text().count("\n") == 1
    for index, seed in enumerate((1, 2)):
        record = json.loads((tmp_path / f"runs/demo,seed={seed}/launch.json").read_text())
        assert record["submissions"][0]["id"] == f"7_{index}"


def test_what_kubectl_is_given_is_what_was_shown(tmp_path: Path) -> None:
    kubectl = """while true; do
    case $1 in
        --*) shift ;;
        config) echo here; exit ;;
        get) case "$*" in *json*) echo '{"items": []}' ;; esac; exit ;;
        *) echo "$*" >>calls; cat >>given; echo "$1"; exit ;;
    esac
    done"""
    words = ["cluster=gke", "launch.image=registry/slipway:1"]
    done = launch(*words, "--submit", cwd=tmp_path, programs={"kubectl": kubectl})
    assert (done.returncode, done.stdout) == (0, "apply\ncreate\n"), done.stderr
    applied, created = (tmp_path / "calls").read_text().splitlines()
    assert applied.startswith("apply --server-side ") and created.startswith("create ")
    assert (tmp_path / "given").read_text() == launch(*words, cwd=tmp_path).stdout
    (one,) = json.loads((tmp_path / "runs/demo/launch.json").read_text())["submissions"]
    assert (one["kind"], one["name"], one["context"]) == ("JobSet", "demo", "here")
    assert "/workspace, volume slipway" in done.stderr


@pytest.mark.parametrize(
    ("sbatch", "code", "line"),
    [
        (None, 2, "slipway: sbatch: "),
        ("echo 'sbatch: error: invalid account' >&2; exit 1", 1, "sbatch: error: invalid account"),
    ],
)
def test_sbatchs_words_are_one_line(sbatch: str | None, code: int, line: str, tmp_path: Path) -> None:
    (tmp_path / "slipway.sif").touch()
    programs = {"sbatch": sbatch} if sbatch else {}
    words = ["cluster=slurm", "--submit"]
    path = f"{tmp_path / 'bin'}:/nonexistent" if sbatch is None else f"{tmp_path / 'bin'}:/usr/bin:/bin"
    done = launch(*words, cwd=tmp_path, programs=programs, PATH=path)
    assert done.returncode == code and line in done.stderr.splitlines()[-1]
    assert not (tmp_path / "runs/demo/launch.json").exists()


def test_here_without_a_scheduler_the_script_is_run(tmp_path: Path) -> None:
    trainer = {"slipway": 'echo "trains $*"; exit 75'}
    done = launch("run.dir='runs/a b'", "--submit", cwd=tmp_path, programs=trainer)
    assert (done.returncode, done.stdout) == (75, "trains train --plan runs/a b/job_plan.json\n"), done.stderr
    assert json.loads((tmp_path / "runs/a b/job_plan.json").read_text())["config"]["run"]["name"] == "demo"


def test_the_summary_says_what_it_takes_and_what_nobody_has_checked() -> None:
    words = ["cluster=lumi_g", "launch.account=a", "training.precision=bf16", "launch.time_limit=60"]
    config = compose([*preset("gpt3_125m"), "training.steps=100000", *words])
    plan, placement = make_plan(config), place(config)
    found = dict(rows([plan], placement, Path("/work")))
    assert found["segments"] == "10 at most, 1 h 00 min each"
    assert "GPU-hours" in found["expected"] and "segments" in found["expected"]
    assert found["queue"].endswith("account a")
    said = [text for name, text in rows([plan], placement, Path("/work")) if name == "warning"]
    assert said == config.cluster.warnings and "aws-ofi-rccl" in said[0] and "TCP" in said[0]
    marks = config.cluster.model_copy(
        update={
            "unverified": [
                "kubernetes.kind",
                "slurm.queues.other.max_hours",
                "notes",
                "device.peak_tflops_fp32",
            ]
            + ["container.options", "network.inter_node_gb_per_s"]
        }
    )
    assert matters(config.model_copy(update={"cluster": marks}), placement) == ["container.options"]


def test_wandb_is_offline_where_there_is_no_internet() -> None:
    words = ["cluster=slurm", "logging.wandb.mode=online"]
    assert offline(compose([*words, "cluster.internet=false"])).logging.wandb.mode == "offline"
    assert offline(compose([*words, "cluster.internet=null"])).logging.wandb.mode == "online"


def test_the_whole_of_jupiter_and_a_large_sweep_take_seconds() -> None:
    """Of this process's own time: other processes on the machine do not count. Being measured takes as long again."""
    slower = 9 if sys.gettrace() else 3  # a busy machine's process time is longer, too
    words = ["cluster=jupiter_booster", "launch.account=a", "training.micro_batch_size=1"]
    config = compose([*words, "resources.nodes=5884", "training.global_batch_size=23536"])
    started = time.process_time()
    plan = make_plan(config)
    script = slurm.render([plan], place(config), Path("/work"))
    largest = time.process_time() - started
    assert "#SBATCH --nodes=5884" in script and largest < slower, largest
    started = time.process_time()
    jobs = 1000 if breadth.ALL else 300
    configs = compose_sweep([*words, f"training.seed=range(0,{jobs})"])
    script = slurm.render([make_plan(one) for one in configs], place(configs[0]), Path("/work"))
    sweep = time.process_time() - started
    assert f"#SBATCH --array=0-{jobs - 1}" in script and sweep < slower * (1 + jobs / 200), sweep
    print(f"5,884 nodes: {largest:.2f} s, {jobs} jobs: {sweep:.2f} s")
