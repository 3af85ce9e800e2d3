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
TWO_NODES = ["resources.nodes=2", f"{LAYOUT['ranks']}=4"]
TWO_RANKS = ["resources.nodes=2", f"{LAYOUT['ranks']}=1", f"{LAYOUT['tp']}=1", f"{LAYOUT['pp']}=2"]
SECONDS = 240  # for what takes 30 s on a quiet machine


@dataclass
class Site:
    """The cluster, a project folder on it, the image."""

    slurm: Slurm
    folder: Path
    sif: Path

    def launch(self, name: str, *words: str, nodes: list[str] = TWO_NODES) -> str:
        """`slipway launch --submit` of the common run; the job's id."""
        common = [*RUN, *SMALLER, *nodes, *self.cluster(), f"training.steps={STEPS}", f"run.name={name}"]
        done = self.call("launch", "--submit", *common, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def cluster(self) -> list[str]:
        words = ["cluster=slurm", "cluster.device.kind=cpu", "cluster.container.options=[]"]
        return [*words, "cluster.slurm.exclusive=false", f"launch.image={self.sif}", "launch.time_limit=60"]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.slurm.run([sys.executable, "-m", "slipway", *words], cwd=self.folder, timeout=60)

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

    def words(self, name: str) -> str:
        """All that its jobs printed."""
        logs = sorted((self.run_dir(name) / "logs").glob("*.out"))
        return "\n".join(f"{log.name}: {log.read_text()}" for log in logs) + self.slurm.squeue()

    def ranks(self, name: str) -> list[psutil.Process]:
        """The Python processes of its ranks."""
        word = f"runs/{name}/run.json"
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
        slurm.environment["APPTAINER_NO_PRIVS"] = "1"  # root without all capabilities
        site = Site(slurm, folder, sif_here)
        assert site.call("data", *RUN).returncode == 0
        yield site


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> list[tuple[int, str, str]]:
    """Losses of a run that nothing disturbs: 2 nodes x 4 ranks, through the SIF."""
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
    assert len(ranks) == 8
    # One rank stands still, so that the run waits for the signal, which Slurm sends every 30 s if at all.
    ranks[5].send_signal(signal.SIGSTOP)
    elapsed = int(time.time() - ranks[5].create_time()) // 60
    site.slurm.scontrol("update", f"jobid={job}", f"timelimit={elapsed + 2}")
    site.slurm.until(lambda: signalled(ranks[5]), "the signal", 120)
    # else each of the following segments is as short, and signalled as soon as it has begun
    site.slurm.scontrol("update", f"jobid={job}", "timelimit=60")
    with contextlib.suppress(psutil.NoSuchProcess):
        ranks[5].send_signal(signal.SIGCONT)
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


def test_a_signal_and_the_job_that_waited_continues(
    site: Site, undisturbed: list[tuple[int, str, str]]
) -> None:
    name = "chained"
    job = site.launch(name, "cluster.slurm.requeue=false", "--chain", "3")
    site.until_steps(name, 3)
    site.slurm.good(["scancel", "--signal=USR1", job])
    site.until_done(name)
    assert measured(site.run_dir(name)) == undisturbed
    first, second = continuations(site.run_dir(name))
    words = site.words(name)
    assert f"stopped early, with a checkpoint; job {first} continues" in words
    assert f"segment 2 of at most 3, job {first} on" in words
    assert site.slurm.state(job) == "FAILED" and site.slurm.state(first) == "COMPLETED"
    assert site.slurm.state(second) in ("CANCELLED", "PENDING")


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

    The chain's run has two ranks instead of eight, to save time.
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
