"""`slipway runs` over jobs of a real Slurm: their states, what they print, and their end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slurm_testbed
from slipway.cli import main
from slipway.launch import record
from slipway.launch.record import Submission
from slipway.plan.facts import Facts
from slipway.run_dir import RunDir
from slurm_testbed import Slurm, running

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        bool(slurm_testbed.lacking()), reason=f"lacking: {', '.join(slurm_testbed.lacking())}"
    ),
]

FACTS = Facts(name="alpha", model="demo", steps=100, nodes=2, world_size=8, layout={"TP": 2, "DP": 4})

# As deploy/slurm/job.sh.j2 does it: where jobs may not requeue themselves, each submits the next at its start.
CHAIN = """#!/bin/bash
next=$(sbatch --parsable --dependency=afternotok:$SLURM_JOB_ID --kill-on-invalid-dep=yes {options} "$0")
echo $next >> {run}/launch.continuations
exec >> {run}/logs/slurm-$SLURM_JOB_ID.out
for i in $(seq 600); do echo line $i; sleep 0.1; done
"""

# A job whose task answers a cancellation as the trainer does, with 75, upon which the job submits the next one.
STUBBORN = """#!/bin/bash
trap : TERM
srun bash -c 'trap "exit 75" TERM; echo up; for i in $(seq 600); do sleep 0.1; done'
[ $? = 75 ] && sbatch --parsable -J alpha -o /dev/null --wrap "sleep 600" >> {run}/launch.continuations
exit 75
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("cluster"), nodes=("n1", "n2")) as cluster:
        yield cluster


@pytest.fixture
def run(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty run directory, runs/alpha below the current folder; no job outlives the test."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/alpha")
    (folder / "logs").mkdir(parents=True)
    yield folder
    slurm.run(["scancel", "--signal=KILL", "--user=root"])
    slurm.run(["scancel", "--user=root"])
    slurm.until(lambda: slurm.good(["squeue", "-h"]) == "", "the queue to be empty")


@pytest.fixture
def submit(slurm: Slurm, run: Path) -> Callable[..., str]:
    """Submit a script as `slipway launch --submit` does, with a record; the job's id."""

    def submit(script: str, *options: str, name: str = "alpha", index: str = "") -> str:
        path = run.absolute() / "job.sh"
        path.write_text(script)
        words = [f"--job-name={name}", "--output=/dev/null", "--time=10", *options, str(path)]
        job = slurm.sbatch(*words, cwd=Path.cwd())
        record.add(
            run,
            Submission(
                scheduler="slurm",
                cluster="slurm",
                submitted=time.time(),
                id=job + index,
                name=name,
                image="slipway.sif",
                command=["sbatch", *words],
                chain=5,
                facts=FACTS,
            ),
        )
        return job

    return submit


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["runs", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_states_from_the_queue_to_the_end(slurm: Slurm, run: Path, submit, capsys) -> None:
    first = submit("#!/bin/sh\nsleep 600\n", "-N2", "--exclusive")
    second = submit("#!/bin/sh\nexit 75\n", "-N2", "--exclusive")
    held = submit("#!/bin/sh\nexit 3\n", "-N1", "--hold")
    slurm.wait(first, "RUNNING")
    slurm.until(lambda: slurm.squeue("--jobs", second, "--format=%S").strip() != "N/A", "an expected start")
    slurm.until(lambda: "Resources" in slurm.squeue("--jobs", second, "--format=%r"), "the reason")
    now = time.time()
    (listed,) = shown(capsys)["runs"]
    assert (listed["state"], listed["name"], listed["model"], listed["steps"]) == (
        "submitted",
        "alpha",
        "demo",
        100,
    )
    assert (listed["scheduler"]["id"], listed["scheduler"]["state"]) == (first, "running")
    jobs = {job["id"]: job for job in shown(capsys, "show", "alpha")["jobs"]}
    assert list(jobs) == [first, second, held]
    assert jobs[first]["nodes"] == "n[1-2]" and 0 < jobs[first]["end"] - now <= 600
    assert jobs[second]["state"] == "pending" and jobs[second]["detail"] in ("Resources", "Priority")
    assert jobs[second]["start"] > now - 5
    assert (jobs[held]["state"], jobs[held]["detail"]) == ("pending", "JobHeldUser")
    assert main(["runs"]) == main(["runs", "show", "alpha"]) == 0
    text = capsys.readouterr().out
    assert (
        f"{first} running on n[1-2], 9 min" in text
        and f"pending ({jobs[second]['detail']}), expected 20" in text
    )

    slurm.scontrol("requeue", first)
    slurm.until(lambda: slurm.state(second) == "FAILED", "the second job to run")
    slurm.scontrol("release", held)
    slurm.wait(held, "FAILED")
    jobs = {job["id"]: job for job in shown(capsys, "show", "alpha")["jobs"]}
    assert (jobs[second]["state"], jobs[second]["detail"]) == ("stopped", "to continue")
    assert (jobs[held]["state"], jobs[held]["detail"]) == ("failed", "exit code 3")
    assert jobs[first]["state"] in ("requeued", "running") and jobs[first]["restarts"] == 1
    slurm.good(["scancel", first])
    slurm.wait(first, "CANCELLED")
    assert shown(capsys)["runs"][0]["scheduler"]["state"] == "failed"  # of the newest job


def test_a_chain_is_shown_followed_and_cancelled_whole(slurm: Slurm, run: Path, submit, capsys) -> None:
    job = submit(CHAIN.format(run=run.absolute(), options="-J alpha -o /dev/null"), "-N1")
    slurm.until(lambda: (run / "logs" / f"slurm-{job}.out").exists(), "output")
    (following,) = record.continuations(run)
    jobs = shown(capsys, "show", "alpha")["jobs"]
    assert [(one["id"], one["state"], one["continues"]) for one in jobs] == [
        (job, "running", False),
        (following, "pending", True),
    ]
    assert jobs[1]["detail"] == "Dependency"
    assert shown(capsys, "show", "alpha")["chain"] == {"segment": 1, "limit": 5}
    assert main(["runs", "logs", "alpha", "--rank", "3"]) == 2
    assert "all ranks print into the job's output" in capsys.readouterr().err

    words = [sys.executable, "-m", "slipway", "runs", "logs", "alpha", "--lines", "1", "--follow"]
    follower = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(5)]
        numbers = [int(line.removeprefix("line ")) for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + 5))

        assert main(["runs", "cancel", "alpha", "--dry-run"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"scancel --name=alpha {following}",
            f"scancel --name=alpha {job}",
        ]
        assert slurm.state(job) == "RUNNING"
        assert main(["runs", "cancel", "alpha"]) == 0
        told = capsys.readouterr().out
        assert f"cancelled job {job}: was running on n1" in told
        assert f"cancelled job {following}: was pending (Dependency)" in told
        assert (slurm.state(job), slurm.state(following)) == ("CANCELLED", "CANCELLED")
        assert follower.wait(30) == 0  # the run is over
    finally:
        follower.kill()
        follower.wait()
    assert main(["runs", "cancel", "alpha"]) == 2
    error = capsys.readouterr().err
    assert "nothing is queued or running" in error and len(error.splitlines()) == 1


def test_what_a_cancelled_job_submits_is_cancelled_too(slurm: Slurm, run: Path, submit, capsys) -> None:
    job = submit(STUBBORN.format(run=run.absolute()), "-N1", f"--output={run.absolute()}/logs/slurm-%j.out")
    slurm.until(lambda: "up" in _text(run / "logs" / f"slurm-{job}.out"), "the task to be up")
    assert main(["runs", "cancel", "alpha"]) == 0
    (following,) = record.continuations(run)
    told = capsys.readouterr().out
    assert f"cancelled job {job}: was running" in told and f"cancelled job {following}:" in told
    assert (slurm.state(job), slurm.state(following)) == ("CANCELLED", "CANCELLED")


# A trainer that saves and stops when it is told to, and a container around nothing.
TRAINER = """#!/bin/bash
trap "echo saved; exit 75" TERM USR1
echo training
for i in $(seq 600); do sleep 0.1; done
"""
NO_CONTAINER = """#!/bin/bash
while [ "$1" != image.sif ]; do shift; done
shift
exec "$@"
"""


@pytest.mark.parametrize("requeue", ["true", "false"])
def test_a_rendered_job_stays_cancelled(
    slurm: Slurm, run: Path, requeue: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own script, which goes on after a trainer's 75 by requeue or by a job that waits: not when cancelled."""
    run.joinpath("logs").rmdir()
    run.rmdir()
    Path("bin").mkdir()
    Path("image.sif").touch()
    for name, text in (("apptainer", NO_CONTAINER), ("slipway", TRAINER)):
        Path("bin", name).write_text(text)
        Path("bin", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{slurm.environment['PATH']}")
    words = [
        "cluster=slurm",
        "cluster.device.kind=cpu",
        "cluster.slurm.exclusive=false",
        "launch.image=image.sif",
    ]
    words += ["model=demo", "resources.nodes=1", "resources.devices_per_node=2", "launch.time_limit=10"]
    words += ["cluster.node.cores_per_device=1", f"cluster.slurm.requeue={requeue}", "run.name=alpha"]
    assert main(["launch", "--submit", *words]) == 0
    job = capsys.readouterr().out.strip()
    log = run / "logs" / f"slurm-{job}.out"
    slurm.until(lambda: _text(log).count("training") == 2, "both ranks")
    assert main(["runs", "cancel", "alpha"]) == 0
    assert f"cancelled job {job}: was running on n1" in capsys.readouterr().out
    time.sleep(2)  # a requeued job would be back
    every = [job, *record.continuations(run)]
    assert {slurm.state(one) for one in every} == {"CANCELLED"}, _text(log)
    assert main(["runs", "cancel", "alpha"]) == 2


def test_jobs_of_an_array_are_told_apart(slurm: Slurm, run: Path, submit, capsys) -> None:
    array = submit("#!/bin/sh\nsleep 600\n", "-N1", "--array=0-3", index="_2")
    slurm.wait(f"{array}_2", "RUNNING")
    assert shown(capsys)["runs"][0]["scheduler"]["id"] == f"{array}_2"
    assert main(["runs", "cancel", "alpha"]) == 0
    states = [slurm.state(f"{array}_{index}") for index in range(4)]
    assert states == ["RUNNING", "RUNNING", "CANCELLED", "RUNNING"]


def test_a_number_of_another_cluster_is_left_alone(slurm: Slurm, run: Path, submit, capsys) -> None:
    job = submit("#!/bin/sh\nsleep 600\n", "-N1", "--job-name=other")
    slurm.wait(job, "RUNNING")
    scheduler = shown(capsys)["runs"][0]["scheduler"]
    assert (scheduler["state"], scheduler["detail"]) == (
        "unknown",
        "the job of this number here is other, not alpha",
    )
    assert main(["runs", "cancel", "alpha"]) == 2
    assert slurm.state(job) == "RUNNING"


def test_jobs_that_the_queue_has_forgotten(slurm: Slurm, run: Path, submit, capsys) -> None:
    job = submit("#!/bin/sh\nexit 0\n", "-N1")
    slurm.wait(job, "COMPLETED")
    record.add(run, record.read(run).submissions[-1].model_copy(update={"id": "987654"}))  # type: ignore[union-attr]
    assert [one["state"] for one in shown(capsys, "show", "alpha")["jobs"]] == ["finished", "ended"]
    RunDir(run).submissions.unlink()
    record.add(run, Submission(scheduler="slurm", cluster="slurm", submitted=1.0, id="987654", name="alpha"))
    (only,) = shown(capsys, "show", "alpha")["jobs"]
    assert only["state"] == "ended" and "Slurm accounting storage is disabled" in only["detail"]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
