"""A rank's place from what srun, torchrun or a pod sets."""

import socket

import pytest

from refusals import refused
from slipway.doctor.here import host_name
from slipway.errors import UserError
from slipway.ranks.environment import Node, Place, launched, left_over, node_name, started_rank

TORCHRUN = {
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "12345",
}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}


def test_nothing_started_this_process() -> None:
    assert started_rank({}) is None


def test_a_batch_script_is_not_a_rank() -> None:
    assert started_rank({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}) is None


def test_one_srun_task_may_start_its_own_ranks() -> None:
    assert started_rank(SRUN | {"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_torchrun() -> None:
    assert started_rank(TORCHRUN) == Place(5, 1, 8, "node0", 12345)


def test_srun() -> None:
    assert started_rank(SRUN) == Place(6, 2, 8, "10.0.0.1", 29500)


def test_srun_with_an_address_of_its_own() -> None:
    assert started_rank(SRUN | {"MASTER_ADDR": "node1i"}) == Place(6, 2, 8, "node1i", 29500)


def test_address_missing() -> None:
    with refused("MASTER_ADDR", "RANK=5"):
        started_rank({k: v for k, v in TORCHRUN.items() if k != "MASTER_ADDR"})


def test_not_a_number() -> None:
    with refused("environment variable WORLD_SIZE", "WORLD_SIZE", value="eight"):
        started_rank(TORCHRUN | {"WORLD_SIZE": "eight"})


@pytest.mark.parametrize(
    ("environment", "machines"),
    [
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "4"}, (4, 2)),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "8"}, (1, 8)),
        (TORCHRUN, (2, 4)),  # a pod: as the configuration says
        (TORCHRUN | {"WORLD_SIZE": "6"}, (3, 2)),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "2(x4)"}, (4, 2)),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "8"}, (1, 8)),
        (SRUN, (2, 4)),
    ],
)
def test_machines_that_the_launcher_started(environment: dict[str, str], machines: tuple[int, int]) -> None:
    place = started_rank(environment)
    assert place is not None and place.machines(devices_per_node=4) == machines


def test_machines_with_different_numbers_of_ranks_are_the_same_in_every_rank() -> None:
    for local in ("6", "2"):  # 6 + 2 = 8
        place = started_rank(TORCHRUN | {"LOCAL_WORLD_SIZE": local, "GROUP_WORLD_SIZE": "2"})
        assert place is not None and place.machines(devices_per_node=4) == (2, 4)
    place = started_rank(SRUN | {"SLURM_STEP_TASKS_PER_NODE": "3(x2),2"})
    assert place is not None and place.machines(devices_per_node=4) == (8, 1)


POD = {"SLIPWAY_NODE_RANK": "1", "SLIPWAY_NNODES": "4", "MASTER_ADDR": "demo-0.demo", "MASTER_PORT": "2950"}
TRAINJOB = {"PET_NODE_RANK": "0", "PET_NNODES": "4", "PET_MASTER_ADDR": "demo-node-0-0.demo"}


def test_nodes_that_start_their_own_ranks() -> None:
    assert launched({}) is None
    assert launched(POD) == Node(1, 4, "demo-0.demo", 2950)
    assert launched(TRAINJOB) == Node(0, 4, "demo-node-0-0.demo", 29500)
    assert launched(POD | TORCHRUN) == started_rank(TORCHRUN)
    assert launched({"SLIPWAY_NODE_RANK": "0", "SLIPWAY_NNODES": "1"}) == Node(0, 1, "", 29500)
    assert Node(1, 4, "demo-0.demo", 2950).machines(devices_per_node=8) == (4, 8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SLIPWAY_NODE_RANK": "4"}, "SLIPWAY_NODE_RANK: 4 is not below SLIPWAY_NNODES 4"),
        ({"SLIPWAY_NODE_RANK": ""}, "SLIPWAY_NODE_RANK: '' is not a whole number"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR: not set, but SLIPWAY_NNODES=4"),
    ],
)
def test_what_a_node_is_told_wrong(changed: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        launched(POD | changed)


LEFT = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


def test_the_step_is_the_truth_and_leftovers_are_said() -> None:
    place = Place(6, 2, 8, "10.0.0.1", 29500)
    alone = {"RANK": "3"}
    for left in (LEFT, alone, LEFT | {"WORLD_SIZE": "12"}, POD, TRAINJOB, {"OMPI_COMM_WORLD_SIZE": "2"}):
        left = {name: value for name, value in left.items() if not name.startswith("MASTER")}
        assert launched(SRUN | left) == place
    assert left_over(SRUN | LEFT) == (
        "RANK=0, LOCAL_RANK=0, WORLD_SIZE=1 left in the environment count for nothing: srun says SLURM_PROCID=6, "
        "SLURM_LOCALID=2, SLURM_STEP_NUM_TASKS=8"
    )
    same = {"RANK": "6", "LOCAL_RANK": "2", "WORLD_SIZE": "8"}  # as many scripts set them from srun's
    assert launched(SRUN | same) == place
    assert left_over(SRUN | same) is left_over(SRUN) is left_over(TORCHRUN) is None


def test_a_launcher_in_each_task_of_a_step_places_its_own_ranks() -> None:
    two = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NUM_NODES": "2",
    }
    agent = {"TORCHELASTIC_RUN_ID": "x", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "4"}
    inside = Place(5, 1, 8, "node0", 12345, 4)
    assert started_rank(two | TORCHRUN | agent) == inside and left_over(two | TORCHRUN | agent) is None
    assert started_rank(two | TORCHRUN | {"LOCAL_WORLD_SIZE": "4"}) == inside  # a launcher of another kind


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            TORCHRUN | {"TORCHELASTIC_RUN_ID": "x", "GROUP_WORLD_SIZE": "1"},
            r"TORCHELASTIC_RUN_ID and SLURM_STEP_NUM_TASKS: torchrun has 1 agents .*, but srun 8 tasks",
        ),
        ({"TORCHELASTIC_USE_AGENT_STORE": "True"}, "TORCHELASTIC_USE_AGENT_STORE and SLURM_STEP_NUM_TASKS"),
        (
            {"MASTER_ADDR": "127.0.0.1", "SLURM_STEP_NUM_NODES": "2"},
            "MASTER_ADDR: 127.0.0.1 is another machine on each",
        ),
        (LEFT | {"WORLD_SIZE": "16"}, "RANK and SLURM_PROCID: rank 0 of 16 .*allowed: 12 to 13"),
        ({"MASTER_ADDR": "localhost", "SLURM_STEP_NUM_NODES": "2"}, "MASTER_ADDR: localhost"),
    ],
)
def test_contradictions_are_refused_by_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        started_rank(SRUN | environment)


def test_one_name_for_a_node_which_is_its_schedulers(monkeypatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ip-10-0-1-23.ec2.internal")
    slurm, pod = {"SLURMD_NODENAME": "queue1-dy-p5-1"}, {"SLIPWAY_NODE_NAME": "ip-10-0-1-23.ec2.internal"}
    assert node_name(slurm) == host_name(slurm) == "queue1-dy-p5-1"
    assert (
        node_name(pod) == "ip-10-0-1-23.ec2.internal" and host_name(pod) == f"{node_name(pod)}/ip-10-0-1-23"
    )
    assert node_name({}) == host_name({}) == "ip-10-0-1-23"
