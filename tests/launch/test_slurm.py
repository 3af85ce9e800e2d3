"""The job's script: what it asks of Slurm, and what it makes of each exit code.

The second is shown by running the script with stand-ins for Slurm's commands that note how they were called: no real
Slurm fails on command. What a real one does is in test_slurm_cluster.py.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.launch import local, slurm
from slipway.launch.placement import place
from slipway.plan import make_plan

SHELLCHECK = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
CPU = ["cluster=slurm", "cluster.device.kind=cpu", "cluster.container.options=[]"]


def rendered(*words: str, workdir: Path = Path("/work")) -> str:
    config = compose(words)
    return slurm.render([make_plan(config)], place(config), workdir)


def options_of(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_what_a_profile_says_becomes_options() -> None:
    script = rendered(
        "cluster=slurm",
        "resources.nodes=2",
        "resources.devices_per_node=4",
        "launch.account=project1",
        "launch.partition=fast",
        "launch.qos=high",
        "launch.time_limit=1-02:30:00",
        "launch.exclude=[a1,a2]",
        "cluster.slurm.memory='0'",
        "cluster.slurm.constraint=a100",
        "cluster.slurm.sbatch_options=['--hint=nomultithread']",
        "cluster.slurm.srun_options=['--mpi=none']",
        "cluster.node.cores_per_device=12",
        "cluster.slurm.requeue=true",
    )
    assert options_of(script) == [
        "--job-name=demo",
        "--account=project1",
        "--partition=fast",
        "--qos=high",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--cpus-per-task=12",
        "--gres=gpu:4",
        "--mem=0",
        "--constraint=a100",
        "--exclude=a1,a2",
        "--time=26:30:00",
        "--signal=USR1@300",
        "--open-mode=append",
        "--output=/work/slurm-%j.out",
        "--exclusive",
        "--requeue",
        "--hint=nomultithread",
    ]
    assert "srun --export=ALL --kill-on-bad-exit=1 --cpu-bind=cores --mpi=none" in script
    assert "export SRUN_CPUS_PER_TASK=12" in script


@pytest.mark.parametrize(
    ("request_", "nodes", "option"),
    [("gres", 3, "--gres=gpu:4"), ("gpus-per-node", 3, "--gpus-per-node=4"), ("gpus", 3, "--gpus=12")],
)
def test_devices_are_asked_for_as_the_site_has_it(request_: str, nodes: int, option: str) -> None:
    words = [f"resources.nodes={nodes}", "resources.devices_per_node=4", "training.global_batch_size=24"]
    assert option in options_of(rendered("cluster=slurm", *words, f"cluster.slurm.gpu_request={request_}"))


@pytest.mark.parametrize(
    ("request_", "option"),
    [("gres", "--gres=gpu:a100:4"), ("gpus-per-node", "--gpus-per-node=a100:4"), ("gpus", "--gpus=a100:8")],
)
def test_the_type_of_devices_is_part_of_it(request_: str, option: str) -> None:
    words = ["resources.nodes=2", "resources.devices_per_node=4", "cluster.slurm.gpu_type=a100"]
    assert option in options_of(rendered("cluster=slurm", *words, f"cluster.slurm.gpu_request={request_}"))


def test_masks_bind_only_the_ranks_there_are() -> None:
    masks = "cluster.node.cpu_masks=['0xfe','0xfe00','0xfe0000']"
    script = rendered("cluster=slurm", "resources.devices_per_node=2", masks)
    assert "--cpu-bind=mask_cpu:0xfe,0xfe00" in script and "0xfe0000" not in script.partition("on_all")[2]


def test_what_is_outside_of_the_workdir_is_bound_once(tmp_path: Path) -> None:
    script = rendered(
        "cluster=slurm",
        "data.dir=/data/tokens",
        "run.dir=/scratch/runs/a",
        "cluster.container.binds=['/p:/p:ro']",
    )
    lines = [line.strip() for line in script.splitlines()]
    binds = [line for line in lines if line.startswith("--bind")]
    assert binds == ["--bind /work", "--bind /data/tokens", "--bind /scratch/runs/a", "--bind /p:/p:ro"]
    assert "--pwd /work" in lines
    inside = rendered("cluster=slurm", "data.dir=/work/data")
    assert inside.count("--bind ") == 1


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["run.dir='a\nb'"], ["run.dir", "control characters"]),
        (["run.dir='a%j'"], ["run.dir", "%"]),
        (["data.dir=/a:b"], ["data.dir", "colon"]),
        (["run.dir='/a,b'"], ["run.dir", "comma"]),
        (["launch.workdir=relative"], ["launch.workdir", "relative"]),
    ],
)
def test_paths_that_no_script_can_name_are_refused(words: list[str], fragments: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        config = compose(["cluster=slurm", *words])
        workdir = Path(config.launch.workdir or "/work")
        slurm.render([make_plan(config)], place(config), workdir)
    assert all(fragment in str(refused.value) for fragment in fragments)


def test_a_sweep_of_several_shapes_is_refused() -> None:
    configs = [
        compose(["cluster=slurm", f"resources.devices_per_node={n}", f"run.name=r{n}"]) for n in (1, 2)
    ]
    with refused("resources.devices_per_node", 1, 2):
        slurm.render([make_plan(config) for config in configs], place(configs[0]), Path("/work"))
    configs = [
        compose(["cluster=slurm", f"run.name=r{n}", "cluster.slurm.max_array_size=2"]) for n in range(3)
    ]
    with refused("sweep", 3, use="2"):
        slurm.render([make_plan(config) for config in configs], place(configs[0]), Path("/work"))


@pytest.mark.parametrize("requeue", ["true", "false"])
@pytest.mark.parametrize("preflight", ["true", "false"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_shellcheck_and_bash_find_nothing(requeue: str, preflight: str, jobs: int, tmp_path: Path) -> None:
    words = [f"cluster.slurm.requeue={requeue}", f"launch.preflight={preflight}", "launch.exclude=[a1]"]
    words += ["cluster.container.modules=[Apptainer]", "cluster.slurm.host_suffix=i"]
    configs = [
        compose(["cluster=slurm", *words, "cluster.slurm.resolve_address=true", f"run.name='r{n}'"])
        for n in range(jobs)
    ]
    script = slurm.render([make_plan(config) for config in configs], place(configs[0]), Path("/work"))
    (tmp_path / "job.sh").write_text(script)
    for command in (["bash", "-n"], [SHELLCHECK]):
        done = subprocess.run(
            [*command, str(tmp_path / "job.sh")], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


STANDINS = {
    # The task of one rank, in the folder of the run, with the exit code that the test asks for.
    "srun": """
        while [ "$1" != bash ]; do shift; done
        SLURM_PROCID=0 "$@"
        code=$?
        echo "$code" >"$NOTES.task"
        exit "$code" """,
    "apptainer": """
        while [ "$1" != slipway ]; do shift; done
        echo "$*" >>"$NOTES"
        [ "$2" = doctor ] && { eval "${DOCTOR:-true}"; exit $?; }
        eval "${TRAINER:-true}" """,
    "sbatch": """
        for word in "$@"; do case $word in */script.sh) ;; *) shown="$shown $word" ;; esac; done
        echo "sbatch$shown $(env | grep -c ^SLURM_)" >>"$NOTES"
        [ -z "${NO_SBATCH:-}" ] || exit 1
        eval "${BREAKS:-}"
        number=$((100 + $(grep -c ^sbatch "$NOTES")))
        eval "${SAYS:-echo '$number;cluster'}" """,
    "scontrol": """
        case "$1 $2" in
        "show hostnames") eval "${BANNER:-}"; printf 'n1\\nn2\\n' ;;
        "show node") [[ $3 = n[0-9] ]] || exit 1 ;;
        requeue*) echo "requeue $2" >>"$NOTES"; eval "${NO_REQUEUE:-kill -9 $PPID}" ;;
        esac""",
    "scancel": 'echo "scancel $*" >>"$NOTES"',
    "squeue": """
        case "$*" in
        *--me*) eval "${QUEUE:-}" ;;
        *) eval "${BANNER:-}"; [ "$SLURM_TIME_FORMAT" = %s ] && echo "${END:-2000000000}" ;;
        esac""",
}


@dataclass
class Job:
    """The script with stand-ins for Slurm, as one job of it runs."""

    folder: Path
    words: list[str] = field(default_factory=list)

    def run(self, segment: int = 1, **environment: str) -> tuple[int, list[str], str]:
        """(exit code, calls, output) of the job, numbered 7; as Slurm starts it: its log is open, in the workdir."""
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        for name, text in STANDINS.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        config = compose([*CPU, "run.dir=run", *self.words])
        script = self.folder / "script.sh"
        script.write_text(slurm.render([make_plan(config)], place(config), self.folder))
        notes = self.folder / "notes"
        notes.write_text("")
        job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        log = self.folder / "run/logs/slurm-7.out"
        before = len(log.read_text()) if log.exists() else 0
        with (self.folder / "slurm-7.out").open("a") as opened:
            done = subprocess.run(
                ["bash", str(script), *([str(segment)] if segment > 1 else [])],
                cwd="/",
                env={"PATH": path, "NOTES": str(notes), **job, **environment},
                stdout=opened,
                stderr=opened,
                timeout=60,
            )
        assert not (self.folder / "slurm-7.out").exists()
        return done.returncode, notes.read_text().splitlines(), log.read_text()[before:]


@pytest.fixture
def chain(tmp_path: Path) -> Job:
    return Job(tmp_path, ["cluster.slurm.requeue=false", "launch.chain=3"])


@pytest.fixture
def requeueing(tmp_path: Path) -> Job:
    return Job(tmp_path, ["cluster.slurm.requeue=true", "launch.chain=3"])


NEXT = "sbatch --parsable --dependency=afternotok:7 --kill-on-invalid-dep=yes 2 0"
TRAIN = "slipway train --plan run/job_plan.json"
A_STEP = """echo '{"kind": "train", "time": 1.5, "step": 4}' >>run/metrics.jsonl; exit 1"""


BAD = "echo 'n2 hang in step 7' >run/bad_nodes; exit 1"


def excluding(nodes: str) -> str:
    return NEXT.replace("--kill-on-invalid-dep=yes", f"--kill-on-invalid-dep=yes --exclude={nodes}")


def test_done_drops_the_job_that_waits(chain: Job) -> None:
    code, calls, said = chain.run()
    assert (code, calls) == (0, [NEXT, TRAIN, "scancel 101"])
    assert "slipway: done" in said
    assert json.loads((chain.folder / "run" / "job_plan.json").read_text())["config"]["run"]["name"] == "demo"
    assert (chain.folder / "run" / "job.sh").read_text() == (chain.folder / "script.sh").read_text()
    assert (chain.folder / "run" / "launch.continuations").read_text() == "101\n"


def test_exit_code_75_leaves_the_job_that_waits(chain: Job) -> None:
    code, calls, said = chain.run(TRAINER="exit 75")
    assert (code, calls) == (75, [NEXT, TRAIN])
    assert "stopped early, with a checkpoint; job 101 continues" in said
    # srun --kill-on-bad-exit would end the ranks that are a moment slower
    assert (chain.folder / "notes.task").read_text() == "0\n"


def test_exit_code_75_requeues(requeueing: Job) -> None:
    code, calls, said = requeueing.run(TRAINER="exit 75")
    assert (code, calls) == (-9, [TRAIN, "requeue 7"])  # Slurm ends the script
    assert "the job requeues itself" in said


def test_a_users_mistake_ends_the_chain(chain: Job, tmp_path: Path) -> None:
    code, calls, said = chain.run(TRAINER="exit 2")
    assert (code, calls) == (2, [NEXT, TRAIN, "scancel 101"])
    assert "a mistake that another start would only repeat" in said


def test_a_fault_is_tried_again_only_after_progress(chain: Job) -> None:
    code, calls, said = chain.run(TRAINER="exit 1")
    assert (code, calls) == (1, [NEXT, TRAIN, "scancel 101"])
    assert "failed with 1 without a step since the last start: not tried again" in said
    code, calls, said = chain.run(TRAINER=A_STEP)
    assert (code, calls) == (1, [NEXT, TRAIN])
    assert "failed with 1 after step 4; job 101 continues" in said
    code, calls, said = chain.run(TRAINER=A_STEP)  # the same step again
    assert (code, calls) == (1, [NEXT, TRAIN, "scancel 101"])


def test_the_first_exit_code_counts_not_that_of_those_who_were_ended_for_it(chain: Job) -> None:
    kill = 'kill -9 "$BASHPID"'
    code, _, said = chain.run(TRAINER=kill)
    assert code == 137 and "train ended with exit code 137, first in rank 0 on" in said
    assert (chain.folder / "notes.task").read_text() == "137\n"


@pytest.mark.parametrize("mode", ["chain", "requeueing"])
def test_a_bad_node_is_left_out_of_a_new_job(mode: str, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(mode)
    job.words.append("launch.exclude=[n9]")
    code, calls, said = job.run(TRAINER="echo 'n2 hang in step 7' >run/bad_nodes; exit 1")
    replaces = [excluding("n2,n9"), "scancel 101"]
    expected = {"chain": [excluding("n9"), TRAIN, *replaces], "requeueing": [TRAIN, replaces[0]]}
    assert (code, calls) == (1, expected[mode])
    assert "without n2,n9" in said


def test_the_preflight_comes_first_and_may_name_nodes(chain: Job) -> None:
    chain.words.append("launch.preflight=true")
    doctor = "slipway doctor --plan run/job_plan.json --collectives"
    assert chain.run()[:2] == (0, [NEXT, doctor, TRAIN, "scancel 101"])
    code, calls, said = chain.run(DOCTOR="exit 1")
    assert (code, calls) == (1, [NEXT, doctor, "scancel 101"]) and "named no node" in said
    code, calls, _ = chain.run(DOCTOR="echo 'n1 slow' >>run/bad_nodes; exit 1")
    assert (code, calls[:2]) == (1, [NEXT, doctor]) and "--exclude=n1" in calls[2]
    assert calls[3:] == ["scancel 101"]


@pytest.mark.parametrize("mode", ["chain", "requeueing"])
def test_the_chain_has_an_end(mode: str, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(mode)
    code, calls, said = job.run(TRAINER="exit 75", segment=2, SLURM_RESTART_COUNT="1")
    assert (code, calls) == (75, [TRAIN])
    assert "segment 3 of at most 3" in said and "launch.chain 3 is used up" in said
    code, calls, said = job.run(segment=4)
    assert (code, calls) == (1, []) and "launch.chain 3 is used up" in said


def test_no_next_job_is_no_reason_not_to_train(chain: Job) -> None:
    code, calls, said = chain.run(TRAINER="exit 75", NO_SBATCH="1")
    assert (code, calls) == (75, [NEXT, TRAIN, NEXT])
    assert "the next segment could not be submitted" in said


def test_what_the_ranks_find_in_their_environment(chain: Job) -> None:
    chain.words += ["cluster.slurm.host_suffix=i", "cluster.network.interfaces=[ib0,ib1]"]
    code, _, said = chain.run(TRAINER="env", SLIPWAY_END_TIME="1")
    assert code == 0
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert found["MASTER_ADDR"] == "n1i" and found["MASTER_PORT"] == "20007"
    assert found["SLIPWAY_END_TIME"] == str(2_000_000_000 - slurm.END_MARGIN_SECONDS)
    assert (found["NCCL_SOCKET_IFNAME"], found["GLOO_SOCKET_IFNAME"]) == ("=ib0,ib1", "ib0,ib1")


def test_a_job_that_waits_is_given_up_only_for_another(chain: Job) -> None:
    """sbatch refuses at the moment of the replacement: what waits continues, on whatever nodes."""
    code, calls, said = chain.run(TRAINER=BAD, BREAKS="[[ $* != *--exclude=* ]] || exit 1")
    assert (code, calls) == (1, [NEXT, TRAIN, excluding("n2")])
    assert "no job could be submitted that leaves out n2" in said and "job 101 continues" in said


def test_a_job_that_cannot_be_replaced_requeues(requeueing: Job) -> None:
    code, calls, _ = requeueing.run(TRAINER=BAD, NO_SBATCH="1")
    assert (code, calls) == (-9, [TRAIN, excluding("n2"), "requeue 7"])
    (requeueing.folder / "run/bad_nodes").unlink()
    code, calls, said = requeueing.run(TRAINER="exit 75", NO_REQUEUE="exit 1")
    assert (code, calls) == (75, [TRAIN, "requeue 7", NEXT]) and "job 101 continues" in said


def test_a_node_that_slurm_does_not_know_is_left_out_of_the_list(chain: Job) -> None:
    bad = "printf 'n2 hang\\nip-10-0-1-23.ec2 hang\\n' >run/bad_nodes; exit 1"
    refuses = "[[ $* != *ip-10* ]] || { echo 'Invalid node name specified' >&2; exit 1; }"
    code, calls, said = chain.run(TRAINER=bad, BREAKS=refuses)
    expected = [NEXT, TRAIN, excluding("ip-10-0-1-23.ec2,n2"), excluding("n2"), "scancel 101"]
    assert (code, calls) == (1, expected)
    assert "leaving out n2" in said and "job 103 continues" in said
    code, calls, _ = chain.run(BREAKS=refuses)  # nor does it cost the next segment its successor
    assert (code, calls[:2]) == (0, [excluding("ip-10-0-1-23.ec2,n2"), excluding("n2")])


@pytest.mark.parametrize(
    ("says", "queue", "number"),
    [
        ("echo '*** Welcome, 3 nodes down ***'; echo; echo 4711", "", "4711"),
        ("echo 12 jobs; echo '4711;cluster'; echo 'Have a nice day'", "", "4711"),
        ("echo Submitted batch job 4711 on cluster west", "", "4711"),
        (
            "echo queued",
            "echo '4700 (null)'; echo '4711 afternotok:7(unfulfilled)'; echo '9 afternotok:70'",
            "4711",
        ),
        ("echo queued", "", None),
    ],
)
def test_the_next_jobs_number_among_other_words(
    says: str, queue: str, number: str | None, chain: Job
) -> None:
    code, calls, said = chain.run(SAYS=says, QUEUE=queue)
    assert (code, calls) == (0, [NEXT, TRAIN, *([f"scancel {number}"] if number else [])])
    if number:
        assert (chain.folder / "run/launch.continuations").read_text() == f"{number}\n"
    else:
        assert "no job's number in what sbatch printed" in said


def test_a_sites_banner_is_neither_a_node_nor_an_end(chain: Job) -> None:
    banner = "echo '*** Welcome'; echo; echo NOTICE"
    _, _, said = chain.run(TRAINER="env", BANNER=banner)
    assert (
        "MASTER_ADDR=n1\n" in said
        and f"SLIPWAY_END_TIME={2_000_000_000 - slurm.END_MARGIN_SECONDS}\n" in said
    )
    _, _, said = chain.run(TRAINER="env", END="N/A", SLIPWAY_END_TIME="1")
    assert "SLIPWAY_END_TIME" not in said and "names no end of this job" in said


def test_a_job_that_continues_submits_itself_and_is_on_record(chain: Job) -> None:
    """Whoever submitted it may have died before it wrote the number down, or another job replaced job.sh."""
    chain.run(TRAINER="echo another >run/job.sh; exit 75", NO_SBATCH="1")
    assert not (chain.folder / "run/launch.continuations").exists()
    code, calls, _ = chain.run(
        segment=2, TRAINER="echo another >run/job.sh; rm run/launch.continuations; exit 75"
    )
    assert (code, calls) == (75, [NEXT.replace(" 2 0", " 3 0"), TRAIN])
    for _ in range(2):
        chain.run(segment=2, NO_SBATCH="1")
        assert (chain.folder / "run/launch.continuations").read_text() == "7\n"


@pytest.mark.parametrize(
    "name", ["MASTER_ADDR", "run_dir", "task", "SLURM_JOB_ID", "RANK", "SRUN_CPUS_PER_TASK"]
)
@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_a_profile_exports_nothing_that_the_script_says(cluster: str, name: str) -> None:
    """`export run_dir=x` in the middle of the script would send the run elsewhere."""
    config = compose([f"cluster={cluster}", f"+cluster.environment.{name}='7'"])
    if cluster == "local" and name in ("task", "SLURM_JOB_ID"):
        local.render([make_plan(config)], place(config), Path("/work"))  # it has none of these
        return
    with pytest.raises(UserError, match=rf"^cluster\.environment\.{name}: "):
        module = slurm if cluster == "slurm" else local
        module.render([make_plan(config)], place(config), Path("/work"))


def test_an_option_does_not_take_the_devices_place() -> None:
    words = ["cluster=leonardo_booster", "launch.account=p", "cluster.slurm.gpu_request=gres"]
    more = 'cluster.slurm.sbatch_options=["--gres=tmpfs:1T"]'
    with refused("cluster.slurm.sbatch_options", "--gres=gpu", value="--gres=tmpfs:1T", use="gpu_request"):
        rendered(*words, more)
    options = options_of(rendered(*words[:2], "cluster.slurm.gpu_request=gpus-per-node", more))
    assert "--gres=tmpfs:1T" in options and any(one.startswith("--gpus-per-node=") for one in options)


def test_options_of_the_container_are_words_as_in_a_shell() -> None:
    text = rendered("cluster=slurm", 'cluster.container.options=["--env A=B","--nv"]')
    assert "    --env A=B\n    --nv\n" in text
