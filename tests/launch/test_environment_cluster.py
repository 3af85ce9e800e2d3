"""On a real Slurm: a shell full of options changes nothing, and a printed script is all that a submission needs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_testbed
from hostile_environment import EVERY, IN_THE_SCRIPT
from slurm_testbed import Slurm, running

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        bool(slurm_testbed.lacking()), reason=f"lacking: {', '.join(slurm_testbed.lacking())}"
    ),
]

# In place of the container and what is in it: writes down what a rank finds, and what the test asks for besides.
APPTAINER = """#!/bin/bash
echo "rank $SLURM_PROCID of $WORLD on $SLURMD_NODENAME"
env -0 >"$PWD/rank-$SLURM_PROCID.environment"
[ ! -x ./trainer ] || [ "$SLURM_PROCID" != 0 ] || ./trainer
"""
# A site's sbatch: it says more than the number.
SBATCH = """#!/bin/bash
echo "*** Welcome. Maintenance on 5 May, 10:00 ***"
echo
"$(PATH=${PATH#*:} command -v sbatch)" "$@" || exit
echo "Have a nice day"
"""
# What differs from job to job, and what a shell may keep.
OWN = (
    "SLURM_JOB",
    "SLURM_TASK_PID",
    "SLURM_STEP_LAUNCHER_PORT",
    "SLURM_SRUN_COMM_PORT",
    "MASTER_PORT",
    "SLURM_GTIDS",
)
OWN_NAMES = ("SLIPWAY_END_TIME", "SLURM_SUBMIT_DIR", "SLURM_JOBID", "TMPDIR")
WORDS = [
    *(
        "cluster=slurm",
        "cluster.device.kind=cpu",
        "cluster.container.options=[]",
        "cluster.slurm.exclusive=false",
    ),
    *("resources.nodes=2", "resources.devices_per_node=2", "parallelism.pipeline_model_parallel_size=1"),
    *("launch.image=image.sif", "launch.time_limit=10", "cluster.node.cores_per_device=1"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("cluster"), nodes=("n1", "n2")) as cluster:
        yield cluster


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A fresh folder with a container's stand-in."""
    (tmp_path / "bin").mkdir()
    for name, text in (("apptainer", APPTAINER), ("sbatch", SBATCH)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/image.sif").touch()
    return tmp_path / "work"


def launch(slurm: Slurm, work: Path, *words: str, **held: str) -> subprocess.CompletedProcess[str]:
    path = f"{work.parent / 'bin'}{os.pathsep}{slurm.environment['PATH']}"
    python = {name: "" for name in held if name == "PYTHONPATH"}  # the launcher itself is to start
    done = slurm.run(
        [sys.executable, "-m", "slipway", "launch", *WORDS, *words], work, **held | python, PATH=path
    )
    assert done.returncode == 0, done.stderr
    return done


def ended(slurm: Slurm, work: Path, job: str, name: str = "demo") -> str:
    """What the job printed, when it is over."""
    slurm.wait(job)
    return (work / "runs" / name / "logs" / f"slurm-{job}.out").read_text()


def ranks(work: Path) -> list[dict[str, str]]:
    """The environment of each rank, without what is of this job alone."""
    files = [work / f"rank-{rank}.environment" for rank in range(4)]
    found = [dict(one.split("=", 1) for one in file.read_text().split("\0") if one) for file in files]
    for file in files:
        file.unlink()
    return [{k: v for k, v in one.items() if not k.startswith(OWN) and k not in OWN_NAMES} for one in found]


def test_a_shell_full_of_options_changes_nothing_of_a_job(slurm: Slurm, work: Path) -> None:
    clean = launch(slurm, work, "--submit").stdout.strip()
    said = ended(slurm, work, clean)
    assert "slipway: done" in said, said
    expected = ranks(work)
    assert {one["MASTER_ADDR"] for one in expected} == {"n1"}
    asked = slurm.scontrol("show", "job", clean)
    dirty = launch(slurm, work, "--submit", **EVERY, SLURM_JOB_ID="3").stdout.strip()
    said = ended(slurm, work, dirty)
    assert "slipway: done" in said, said
    assert "SBATCH" not in said and "SRUN" not in said  # the submission has taken them away before
    assert ranks(work) == expected
    now = slurm.scontrol("show", "job", dirty)
    for field in ("Account", "Partition", "TimeLimit", "JobName", "Requeue", "NumNodes", "Features"):
        assert f" {field}={_field(asked, field)}" in f" {now}", now


def test_the_printed_script_is_all_that_a_submission_needs(slurm: Slurm, work: Path) -> None:
    """In a folder in which nothing was ever run, from a shell that holds what it may."""
    (work / "job.sh").write_text(launch(slurm, work).stdout)
    held = {**IN_THE_SCRIPT, "SBATCH_EXPORT": "ALL,NONE_OF_IT=1", "SLURM_EXPORT_ENV": "NONE"}
    path = f"{work.parent / 'bin'}{os.pathsep}{slurm.environment['PATH']}"
    done = slurm.run(["sbatch", "--parsable", "job.sh"], work, **held, PATH=path)
    assert done.returncode == 0, done.stderr
    job = next(line for line in done.stdout.splitlines() if line.isdecimal())
    said = ended(slurm, work, job)
    assert "slipway: done" in said and "sbatch prefers SBATCH_*" in said, said
    assert {one["MASTER_ADDR"] for one in ranks(work)} == {"n1"}
    assert sorted(path.name for path in work.iterdir()) == ["image.sif", "job.sh", "runs"]


def test_a_sites_export_none_keeps_nothing_from_the_ranks(slurm: Slurm, work: Path) -> None:
    job = launch(
        slurm,
        work,
        "--submit",
        'cluster.slurm.sbatch_options=["--export=NONE"]',
        f"+cluster.environment.PATH='{work.parent / 'bin'}:/usr/bin:/bin'",
        "+cluster.environment.NCCL_DEBUG=INFO",
    ).stdout.strip()
    said = ended(slurm, work, job)
    assert "slipway: done" in said, said
    for rank in ranks(work):
        assert (rank["MASTER_ADDR"], rank["NCCL_DEBUG"]) == ("n1", "INFO")


def test_a_node_that_slurm_does_not_know_costs_no_chain(slurm: Slurm, work: Path) -> None:
    """The next job leaves out the bad node that Slurm knows; the number comes from among a site's words."""
    trainer = """#!/bin/bash
[ ! -e runs/demo/bad_nodes ] || exit 0
printf 'n2 bad\\nip-10-0-1-23 bad\\n' >runs/demo/bad_nodes
exit 1
"""
    (work / "trainer").write_text(trainer)
    (work / "trainer").chmod(0o755)
    words = ["--submit", "resources.nodes=1", "training.global_batch_size=16"]
    job = launch(slurm, work, *words).stdout.strip()
    said = ended(slurm, work, job)
    assert "Slurm does not know all of the nodes ip-10-0-1-23,n2; leaving out n2" in said, said
    waited, following = (work / "runs/demo/launch.continuations").read_text().split()
    assert f"failed with 1, a bad node is named; job {following} continues" in said
    assert "slipway: done" in ended(slurm, work, following)
    assert slurm.state(waited) == "CANCELLED"
    assert _field(slurm.scontrol("show", "job", following), "ExcNodeList") == "n2"


def _field(text: str, name: str) -> str:
    return next(word.partition("=")[2] for word in text.split() if word.partition("=")[0] == name)
