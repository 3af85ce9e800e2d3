"""What users of Slurm write is taken as Slurm takes it (the manual of sbatch: --time, --exclude, --mem)."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from refusals import refused
from slipway.config.cluster import Node, Queue, Slurm
from slipway.config.compose import compose
from slipway.config.launch import Launch


def slurm(**fields: Any) -> Slurm:
    return Slurm(queues={"any": Queue(partition=None)}, **fields)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:00", 30),
        ("0:30", 1),
        ("90:30", 91),
        ("01:30:00", 90),
        ("24:00:00", 1440),
        ("100:00:01", 6001),
        ("1-12", 36 * 60),
        ("1-12:30", 36 * 60 + 30),
        ("2-00:00:00", 2880),
    ],
)
def test_wall_time(text: str, minutes: int) -> None:
    assert Launch.model_validate({"time_limit": text}).time_limit == minutes


@pytest.mark.parametrize(
    ("text", "minutes"), [("24:00:00", 1440), ("1:30:00", 90), ("30:00", 30), ("30", 30)]
)
def test_wall_time_in_a_file(text: str, minutes: int, tmp_path: Path) -> None:
    """YAML 1.1 would take the first three for the numbers 86400, 5400 and 1800."""
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text(f"# @package _global_\nlaunch:\n  time_limit: {text}\n")
    assert compose(["experiment=mine", "cluster=slurm"], config_dir=tmp_path).launch.time_limit == minutes


@pytest.mark.parametrize("text", ["UNLIMITED", "1d", "24h", "1:2:3:4", "-5", "0", "00:00:00"])
def test_no_wall_time(text: str) -> None:
    with pytest.raises(ValidationError, match="time_limit"):
        Launch.model_validate({"time_limit": text})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["n1", "n2"], ["n1", "n2"]),
        ("n1", ["n1"]),
        ("jwb[0001-0004,0007],n9", ["jwb[0001-0004,0007]", "n9"]),
        (["rack[1-2]n[01-03]", "x.y"], ["rack[1-2]n[01-03]", "x.y"]),
    ],
)
def test_lists_of_nodes(given: object, names: list[str]) -> None:
    assert Launch.model_validate({"exclude": given}).exclude == names


def test_a_list_of_nodes_on_the_command_line() -> None:
    assert compose(["launch.exclude='n[1-2],m'", "cluster=slurm"]).launch.exclude == ["n[1-2]", "m"]


@pytest.mark.parametrize("text", ["n[1-", "n]", "n[a-b]", "a b", "$(x)", "n[1-2],"])
def test_no_lists_of_nodes(text: str) -> None:
    with pytest.raises(ValidationError, match="exclude"):
        Launch.model_validate({"exclude": text})


@pytest.mark.parametrize("text", ["480G", "480GB", "0", "512000", "1t"])
def test_sizes_of_memory(text: str) -> None:
    assert slurm(memory=text).memory == text


@pytest.mark.parametrize("text", ["480Gi", "1.5T", "all", "-1", 1.5])
def test_no_sizes_of_memory(text: object) -> None:
    with pytest.raises(ValidationError, match="memory"):
        slurm(memory=text)


def test_options_as_scripts_have_them() -> None:
    options = slurm(sbatch_options=["#SBATCH --hint=nomultithread", "-w n1"]).sbatch_options
    assert options == ["--hint=nomultithread", "-w n1"]
    for name in ("sbatch_options", "srun_options"):
        with pytest.raises(ValidationError, match="must be options"):
            slurm(**{name: ["hint=nomultithread"]})


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--time=1:00", "launch.time_limit"),
        ("#SBATCH -A other", "launch.account"),
        ("-N 2", "resources.nodes"),
        ("--no-requeue", "cluster.slurm.requeue"),
        ("-Cgpu", "cluster.slurm.constraint"),
        ("--hint=nomultithread --account=other", "launch.account"),
        ("--part=debug", "launch.partition"),
        ("--array=0-3", "sweep"),
        ("--wait", "chain"),
    ],
)
def test_options_that_would_beat_what_is_shown_are_refused(option: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        slurm(sbatch_options=[option])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--export=NONE", "cluster.environment"),
        ("-n1", "resources.devices_per_node"),
        ("--mpi=none --nodes 1", "resources.nodes"),
        ("--cpu-bind=none", "cluster.slurm.cpu_bind"),
    ],
)
def test_options_of_srun_that_would_beat_the_scripts_are_refused(option: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        slurm(srun_options=[option])


def test_options_that_only_look_alike_are_taken() -> None:
    taken = [
        "--time-min=60",
        "--wait-all-nodes=1",
        '--comment="a --time=1"',
        "-d afterok:7",
        "--gres-flags=x",
    ]
    assert slurm(sbatch_options=taken).sbatch_options == taken


@pytest.mark.parametrize("given", [["fe", "0xfe00"], "mask_cpu:fe,fe00", "0xfe,0xfe00"])
def test_masks_as_srun_takes_them(given: object) -> None:
    assert Node.model_validate({"cpu_masks": given}).cpu_masks == ["0xfe", "0xfe00"]


def test_masks_that_yaml_takes_for_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    text = "defaults: [slurm, _self_]\nname: mine\nnode: {cpu_masks: [0xfe, 0xfe00]}\n"
    (tmp_path / "cluster" / "mine.yaml").write_text(text)
    with refused("cluster.node.cpu_masks", value="[254, 65024]"):
        compose(["cluster=mine"], config_dir=tmp_path)


@pytest.mark.parametrize("text", ["a100", "a100&ib", "[rack1|rack2]", "(a|b)&c"])
def test_constraints(text: str) -> None:
    assert slurm(constraint=text).constraint == text
