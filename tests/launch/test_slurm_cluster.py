"""`slipway launch --submit` on a real Slurm of four nodes, with the real SIF: signals, chains, a crash, a sweep."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import slurm_testbed
from container_tools import ROOT, RUN, measured
from hostile_environment import EVERY
from slipway.launch.record import continuations
from slurm_testbed import ENDED, Slurm
from training import LAYOUT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        bool(slurm_testbed.lacking()), reason=f"no Slurm here: {', '.join(slurm_testbed.lacking())}"
    ),
]

STEPS = 24
SMALLER = ["model.num_layers=2", "model.hidden_size=64", "model.num_attention_heads=4"]
TWO_NODES = ["resources.nodes=2", f"{LAYOUT['ranks']}=2"]
TWO_RANKS = ["resources.nodes=2", f"{LAYOUT['ranks']}=1", f"{LAYOUT['tp']}=1", f"{LAYOUT['pp']}=2"]
SECONDS = 240  # for what takes 30 s on a quiet machine


@dataclass
class Site:
    """The cluster, a project folder on it, the image."""

    slurm: Slurm
    folder: Path
    sif: Path

    def launch(self, name: str, *words: str, nodes: list[str] = TWO_NODES, **held: str) -> str:
        """`slipway launch --submit` of the common run, from a shell that holds more; the job's id."""
        common = [*RUN, *SMALLER, *nodes, *self.cluster(), f"training.steps={STEPS}", f"run.name={name}"]
        done = self.call("launch", "--submit", *common, *words, **held)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def cluster(self) -> list[str]:
        words = ["cluster=slurm", "cluster.device.kind=cpu"]
        words.append("cluster.container.options=[--no-privs]")  # root without all capabilities
        return [*words, "cluster.slurm.exclusive=false", f"launch.image={self.sif}", "launch.time_limit=60"]

    def call(self, *words: str, **held: str) -> subprocess.CompletedProcess[str]:
        return self.slurm.run([sys.executable, "-m", "slipway", *words], self.folder, 60, **held)

    def run_dir(self, name: str) -> Path:
        return self.folder / "runs" / name

    def steps(self, name: str) -> int:
        path = self.run_dir(name) / "metrics.jsonl"
        return len(measured(path.parent)) if path.exists() else 0

    def until_steps(self, name: str, steps: int) -> None:
        """Until so many steps are done; fails at once where its jobs have ended."""

        def reached() -> bool:
            assert self.alive(name), self.words(name)
            return self.steps(name) >= steps

        self.slurm.until(reached, f"step {steps} of {name}", SECONDS)

    def until_done(self, name: str) -> None:
        """Until no job of the run is left, and all steps are done."""
        self.slurm.until(lambda: not self.alive(name), f"the end of {name}", SECONDS)
        assert self.steps(name) == STEPS, self.words(name)

    def alive(self, name: str) -> bool:
        states = self.slurm.squeue(f"--name={name}", "--format=%T").split()
        return any(state not in ENDED for state in states)

    def alive_as(self, name: str, segment: int) -> bool:
        """Whether this segment of the run trains, or its job has submitted what follows."""
        assert self.alive(name), self.words(name)
        return len(continuations(self.run_dir(name))) >= segment

    def words(self, name: str) -> str:
        """All that its jobs printed."""
        logs = sorted((self.run_dir(name) / "logs").glob("*.out"))
        return "\n".join(f"{log.name}: {log.read_text()}" for log in logs) + self.slurm.squeue()

    def ranks(self, name: str) -> list[psutil.Process]:
        """The Python processes of its ranks."""
        word = f"runs/{name}/job_plan.json"
        found = [one for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or [])]
        return [one for one in found if "python" in one.info["cmdline"][0]]


@pytest.fixture(scope="module")
def sif_here(request: pytest.FixtureRequest) -> Path:
    """The SIF; SLIPWAY_TEST_SIF names one that is there, of use to who changes these tests."""
    kept = os.environ.get("SLIPWAY_TEST_SIF")
    return Path(kept) if kept else request.getfixturevalue("sif")


@pytest.fixture(scope="module")
def site(sif_here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("site")
    folder = base / "project folder"  # with a space: every path in a script is quoted
    folder.mkdir()
    for name, source in {"one": "README.md", "two": "docs/training.md"}.items():
        shutil.copy(ROOT / source, folder / f"{name}.txt")
    with slurm_testbed.running(base) as slurm:
        site = Site(slurm, folder, sif_here)
        assert site.call("data", *RUN).returncode == 0
        yield site


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> list[tuple[int, str, str]]:
    """Losses of a run that nothing disturbs: 2 nodes x 2 ranks, through the SIF."""
    job = site.launch("undisturbed")
    again = site.call(
        "launch", "--submit", *RUN, *SMALLER, *TWO_NODES, *site.cluster(), "run.name=undisturbed"
    )
    assert again.returncode == 2 and f"as job {job};" in again.stderr
    site.until_done("undisturbed")
    assert site.slurm.state(job) == "COMPLETED", site.words("undisturbed")
    words = site.words("undisturbed")
    assert f"job {job} on n[1-2]" in words and "slipway: done" in words
    return measured(site.run_dir("undisturbed"))


def test_two_nodes_train_through_the_sif(undisturbed: list[tuple[int, str, str]], site: Site) -> None:
    assert [step for step, *_ in undisturbed] == list(range(1, STEPS + 1))
    # the job that waited for a failure is gone with the success
    assert set(site.slurm.squeue("--name=undisturbed", "--format=%T").split()) <= {"COMPLETED", "CANCELLED"}


def test_the_wall_time_ends_and_the_job_requeues_itself(
    site: Site, undisturbed: list[tuple[int, str, str]]
) -> None:
    """Slurm's own signal before the limit: checkpoint, exit code 75, requeue, and the same losses."""
    name = "requeued"
    job = site.launch(name, "cluster.slurm.requeue=true", "cluster.slurm.signal_seconds=90")
    site.until_steps(name, 3)
    ranks = site.ranks(name)
    assert len(ranks) == 4
    # One rank stands still, so that the run waits for the signal, which Slurm sends every 30 s if at all.
    ranks[2].send_signal(signal.SIGSTOP)
    elapsed = int(time.time() - ranks[2].create_time()) // 60
    site.slurm.scontrol("update", f"jobid={job}", f"timelimit={elapsed + 2}")
    site.slurm.until(lambda: signalled(ranks[2]), "the signal", 120)
    # else each of the following segments is as short, and signalled as soon as it has begun
    site.slurm.scontrol("update", f"jobid={job}", "timelimit=60")
    with contextlib.suppress(psutil.NoSuchProcess):
        ranks[2].send_signal(signal.SIGCONT)
    site.until_done(name)
    assert measured(site.run_dir(name)) == undisturbed
    words = site.words(name)
    assert "stopped early, with a checkpoint; the job requeues itself" in words
    assert f"segment 2 of at most 10, job {job} on" in words


def signalled(process: psutil.Process) -> bool:
    """Whether SIGUSR1 waits for the stopped process. Slurm wakes it as well: then it runs, or has gone already."""
    try:
        if process.status() != psutil.STATUS_STOPPED:
            return True
        pending = re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    return any(int(mask, 16) >> (signal.SIGUSR1 - 1) & 1 for mask in pending)


# A site's sbatch: it says more than the number, and fails when a job is first to leave out a node.
UNKIND_SBATCH = """#!/bin/bash
case " $* " in *" --exclude="*)
    mkdir "$0.failed" 2>/dev/null && { echo "sbatch: error: Unable to contact slurm controller" >&2; exit 1; } ;;
esac
echo "*** Welcome. Maintenance on 5 May ***"
"$(PATH=${PATH#*:} command -v sbatch)" "$@" || exit
echo "Have a nice day"
"""
# A site's srun: each task sees the device of its local rank alone.
UNKIND_SRUN = """#!/bin/bash
options=()
while [ "$1" != bash ]; do options+=("$1"); shift; done
"$(PATH=${PATH#*:} command -v srun)" "${options[@]}" \
    bash -c 'export CUDA_VISIBLE_DEVICES=$SLURM_LOCALID; exec "$@"' one-device "$@"
"""


def test_on_an_unkind_site_a_hang_and_a_signal_leave_the_run_as_undisturbed(
    site: Site, undisturbed: list[tuple[int, str, str]]
) -> None:
    """A shell full of options, sbatch and srun as above, host names that Slurm does not know; then a rank hangs.

    The job that waits continues, as none can be had that leaves out the bad node; the next one leaves it out.
    """
    folder = site.slurm.folder / "unkind"
    folder.mkdir()
    for program, text in {"sbatch": UNKIND_SBATCH, "srun": UNKIND_SRUN}.items():
        (folder / program).write_text(text)
        (folder / program).chmod(0o755)
    held: dict[str, str] = {
        **EVERY,
        "PYTHONPATH": "",
        "PATH": f"{folder}{os.pathsep}{site.slurm.environment['PATH']}",
    }
    name = "unkind"
    words = ["cluster.slurm.requeue=false", "--chain", "4"]
    job = site.launch(name, *words, "watch.hang_timeout_minutes=0.4", nodes=TWO_NODES, **held)
    site.until_steps(name, 3)
    asked = site.slurm.scontrol("show", "job", job)
    assert "Partition=main" in asked and "TimeLimit=01:00:00" in asked and f"JobName={name}" in asked
    ranks = site.ranks(name)
    assert sorted(rank.environ()["CUDA_VISIBLE_DEVICES"] for rank in ranks) == sorted("01" * 2)
    first = site.slurm.squeue("--jobs", job, "--format=%B").strip()
    bad = next(rank for rank in ranks if rank.environ()["SLURMD_NODENAME"] != first)
    node = bad.environ()["SLURMD_NODENAME"]
    bad.send_signal(signal.SIGSTOP)

    site.slurm.until(lambda: site.alive_as(name, 2), "the second segment", SECONDS)
    second, third = continuations(site.run_dir(name))
    words_so_far = site.words(name)
    assert f"no job could be submitted that leaves out {node}" in words_so_far
    assert f"a bad node is named; job {second} continues" in words_so_far
    site.until_steps(name, site.steps(name) + 1)  # it has come farther than the first, and trains
    site.slurm.good(["scancel", "--signal=USR1", second])
    site.until_done(name)
    assert measured(site.run_dir(name)) == undisturbed
    assert f"stopped early, with a checkpoint; job {third} continues" in site.words(name)
    assert (site.run_dir(name) / "bad_nodes").read_text().startswith(f"{node} hang in step ")
    states = [site.slurm.state(one) for one in (job, second, third)]
    assert states == ["FAILED", "FAILED", "COMPLETED"]
    assert f"ExcNodeList={node}\n" in site.slurm.scontrol("show", "job", third)


def test_a_sweep_is_one_array_of_runs_that_do_not_wait_for_each_other(site: Site) -> None:
    one = ["resources.nodes=1", f"{LAYOUT['ranks']}=1", f"{LAYOUT['tp']}=1", f"{LAYOUT['pp']}=1"]
    job = site.launch("sweep", "-m", "training.seed=1,2,3,4", "cluster.slurm.requeue=false", nodes=one)
    names = [f"sweep,seed={seed}" for seed in (1, 2, 3, 4)]
    assert job.endswith("_[0-3]")
    array = job.partition("_")[0]
    site.slurm.until(lambda: site.steps(names[2]) >= 2, "the third run", SECONDS)
    site.slurm.good(["scancel", "--signal=USR1", f"{array}_2"])
    site.slurm.until(lambda: not site.alive("sweep"), "the end of the sweep", SECONDS)
    assert [site.steps(name) for name in names] == [STEPS] * 4, [site.words(name) for name in names]
    first_losses = {measured(site.run_dir(name))[0] for name in names}
    assert len(first_losses) == 4
    jobs = continuations(site.run_dir(names[2]))
    assert jobs[0].endswith("_2") and site.slurm.state(jobs[0]) == "COMPLETED"
    assert "segment 2 of" not in site.words(names[1])


@pytest.mark.parametrize("mode", ["requeue", "chain"])
def test_a_node_crashes_and_the_run_goes_on_with_those_that_remain(
    mode: str, site: Site, undisturbed: list[tuple[int, str, str]]
) -> None:
    """The node of the batch script and of rank 0: nothing of the job is left to do anything.

    The chain's run has two ranks instead of four, to save time.
    """
    name = f"crashed-{mode}"
    requeue = str(mode == "requeue").lower()
    nodes = TWO_NODES if mode == "requeue" else TWO_RANKS
    job = site.launch(name, f"cluster.slurm.requeue={requeue}", "checkpoint.interval=6", nodes=nodes)
    site.until_steps(name, 8)
    first = site.slurm.squeue("--jobs", job, "--format=%B").strip()
    site.slurm.crash(first)
    site.until_done(name)
    if mode == "requeue":
        assert measured(site.run_dir(name)) == undisturbed
    next_one = job if mode == "requeue" else continuations(site.run_dir(name))[0]
    words = site.words(name)
    assert f"segment 2 of at most 10, job {next_one} on" in words
    assert first not in words.rpartition(f"job {next_one} on")[2].splitlines()[0]
    site.slurm.resume(first)
