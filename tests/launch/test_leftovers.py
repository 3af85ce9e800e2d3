"""No variable of the submitting shell changes what a job does: any of them, with stand-ins for Slurm's commands.

One real sbatch with all of them at once is in test_environment_cluster.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import shell_standins
from hostile_environment import EVERY, IN_THE_SCRIPT, LIBRARIES, RANKS, SBATCH, SLURM
from shell_standins import Told
from slipway.config.compose import compose
from slipway.launch import leftovers, local, slurm
from slipway.launch.placement import place
from slipway.plan import make_plan

JOB = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_NUM_NODES": "1"}
KEPT = {
    "HOME": "/home/me",
    "WANDB_API_KEY": "k",
    "SLURM_CONF": "/etc/slurm.conf",
    "APPTAINER_TMPDIR": "/scratch",
}
WORDS = [
    "cluster=juwels_booster",
    "launch.account=a",
    "resources.nodes=1",
    "+cluster.environment.NCCL_DEBUG=WARN",
]
SUBSETS = st.sets(st.sampled_from(sorted(EVERY)))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shell")
    shell_standins.prepare(folder)
    (folder / "work").mkdir()
    return folder


@pytest.fixture(scope="module")
def script(shell: Path) -> str:
    config = compose(WORDS)
    return slurm.render([make_plan(config)], place(config), shell / "work")


def job(shell: Path, script: str, environment: dict[str, str]) -> list[tuple[list[str], dict[str, str]]]:
    """(words, environment) that the script gives to srun for the ranks, and to sbatch for the next segment."""
    ran = shell_standins.run(shell, script, **environment, **JOB)
    assert ran.code == 0, ran.output
    told = [ran.told("srun"), ran.told("sbatch")]
    return [(one.words, one.environment | {"_": ""}) for one in told if isinstance(one, Told)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=SUBSETS)
@example(names=set(EVERY))
def test_nothing_that_the_shell_holds_reaches_a_job(shell: Path, script: str, names: set[str]) -> None:
    clean = job(shell, script, KEPT)
    assert len(clean) == 2
    held = {name: EVERY[name] for name in names}
    assert job(shell, script, KEPT | held) == clean  # submitted by hand
    submitted = leftovers.submission(KEPT | held | {"SLURM_JOB_NAME": "interactive"})
    assert not submitted.keys() & (SBATCH | SLURM | RANKS | {"SLURM_JOB_NAME": ""}).keys()
    assert job(shell, script, submitted) == clean
    (_, ranks), (words, following) = clean
    assert KEPT.items() <= ranks.items() and KEPT.items() <= following.items()
    assert (
        ranks["NCCL_DEBUG"] == "WARN" and ranks["MASTER_ADDR"] == "10.0.0.1"
    )  # and what the script says does
    assert not [name for name in following if name.startswith("SLURM_") and name != "SLURM_CONF"]
    assert words[-1] == "2"  # the segment's number is no variable


def test_what_was_taken_away_is_said(shell: Path, script: str) -> None:
    job(shell, script, KEPT | {"NCCL_DEBUG": "INFO", "SBATCH_ACCOUNT": "b"})
    log = (shell / "work/runs/demo/logs/slurm-77.out").read_text()
    assert "taken out of the submitting shell's environment: SBATCH_ACCOUNT NCCL_DEBUG\n" in log
    assert "sbatch prefers SBATCH_* to what this script asks for" in log
    assert leftovers.found(KEPT | {"NCCL_DEBUG": "INFO", "PATH": "/bin"} | SBATCH) == [
        "NCCL_DEBUG",
        "SBATCH_*",
    ]


def test_what_an_option_of_the_job_sets_stays() -> None:
    """Slurm tells srun of the job's own --hint by SLURM_HINT."""
    for options, kept in (
        (["--hint=nomultithread"], "SLURM_HINT"),
        (["--gpus-per-node=4"], "SLURM_GPUS_PER_NODE"),
    ):
        config = compose(["cluster=slurm", f"cluster.slurm.sbatch_options={options}"])
        with_it = slurm.render([make_plan(config)], place(config), Path("/work"))
        without = slurm.render([make_plan(compose(["cluster=slurm"]))], place(config), Path("/work"))
        words = without.partition("clean() {")[2].partition("\n}")[0].split()
        assert kept in words and kept not in with_it.partition("clean() {")[2].partition("\n}")[0].split()


def test_without_a_scheduler_launchers_names_count_for_nothing(shell: Path) -> None:
    """Everything else of the shell does: the ranks run right there."""
    config = compose(["cluster=local", "run.dir=run"])
    text = local.render([make_plan(config)], place(config), shell / "work")
    step = {"SLURM_STEP_NUM_TASKS": "7"}
    ran = shell_standins.run(shell, text, **RANKS, **step, OMP_NUM_THREADS="3")
    told = ran.told("slipway")
    assert ran.code == 0 and told is not None
    assert not told.environment.keys() & (RANKS | step).keys() and told.environment["OMP_NUM_THREADS"] == "3"


def test_the_dry_run_names_them_and_says_how_to_submit_by_hand(tmp_path: Path) -> None:
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    words = [sys.executable, "-m", "slipway", "launch", "cluster=slurm"]
    held = SBATCH | {"OMP_NUM_THREADS": "1"}
    plain, dirty = (
        subprocess.run(words, cwd=tmp_path, env=clean | more, capture_output=True, text=True, timeout=60)
        for more in ({}, held)
    )
    assert plain.returncode == dirty.returncode == 0 and plain.stdout == dirty.stdout
    assert "not taken" not in plain.stderr
    said = " ".join(dirty.stderr.split())
    assert "OMP_NUM_THREADS, SBATCH_*" in said and "+cluster.environment.NAME=VALUE" in said
    assert f"env -u {' -u '.join(sorted(SBATCH))} sbatch" in said


def test_the_lists_hold_what_they_should() -> None:
    """The property above is about something: every variable of the pool is known by a family or by name."""
    assert set(leftovers.submission(IN_THE_SCRIPT)) == set(LIBRARIES)
    assert not leftovers.for_slurms_programs(SBATCH | SLURM)
    assert leftovers.sbatchs(EVERY) == sorted(SBATCH)
