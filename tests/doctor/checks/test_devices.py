from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.doctor.checks import devices

FOUR = ("cluster=local_gpu", "resources.devices_per_node=4")


def node(root: Path, files: int, known: int | None = None) -> None:
    for number in range(files):
        plant(root / f"dev/nvidia{number}")
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1"):
        plant(root / "dev" / name)
    for number in range(known or 0):
        plant(root / f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information")


@pytest.mark.parametrize(
    ("files", "known", "status"),
    [(4, None, "ok"), (8, 8, "ok"), (3, None, "fault"), (4, 3, "fault"), (0, None, "fault")],
)
def test_gpus_of_a_node(tmp_path: Path, files: int, known: int | None, status: str) -> None:
    node(tmp_path, files, known)
    assert devices.devices(looking(tmp_path, *FOUR)).status == status


def test_gpus_of_amd(tmp_path: Path) -> None:
    for number, identity in enumerate(("0", "0", "4098", "4099")):  # CPUs are nodes too
        plant(tmp_path / f"sys/class/kfd/kfd/topology/nodes/{number}/gpu_id", identity + "\n")
    assert devices.present(looking(tmp_path)) == ["kfd node 2", "kfd node 3"]


def test_a_login_node_needs_none(tmp_path: Path) -> None:
    assert devices.devices(looking(tmp_path, "cluster=juwels_booster", job=False)).status == "skipped"
    assert devices.devices(looking(tmp_path)).status == "skipped"


def rank(number: int, visible: list[str] | None, openable: list[str] | None = None) -> dict:
    return {"rank": 4 + number, "local_rank": number, "visible": visible, "openable": openable}


@pytest.mark.parametrize(
    ("visible", "status", "saw"),
    [
        ([None, None], "ok", ""),
        ([["0", "1"], ["0", "1"]], "ok", "on devices 0, 1"),
        ([["0"], ["1"]], "warning", "ranks 4-5 see fewer"),  # what Jülich's plug-in of Slurm does
        ([["0", "1"], ["1", "0"]], "fault", "ranks 4 and 5 take device 0"),
        ([["0"], ["0"]], "fault", "ranks 4 and 5 take device 0"),
        ([["0"], []], "fault", "rank 5 sees no GPU"),
    ],
)
def test_each_rank_has_a_device_of_its_own(visible: list, status: str, saw: str) -> None:
    found = devices.binding([rank(number, seen) for number, seen in enumerate(visible)], "n2")
    assert (found.status, found.node) == (status, "n2")
    assert saw in found.saw


@pytest.mark.parametrize(
    ("openable", "visible", "status", "saw"),
    [
        # a cgroup for each task: all call their only GPU 0
        ([["/dev/nvidia0"], ["/dev/nvidia1"]], ["0"], "warning", "/dev/nvidia0, /dev/nvidia1"),
        ([["/dev/nvidia0"], ["/dev/nvidia1"]], None, "warning", "/dev/nvidia0, /dev/nvidia1"),
        ([["/dev/nvidia2"], ["/dev/nvidia2"]], ["0"], "fault", "take device /dev/nvidia2"),
        (
            [["/dev/nvidia2", "/dev/nvidia3"]] * 2,
            ["0", "1"],
            "ok",
            "/dev/nvidia2, /dev/nvidia3",
        ),  # half a node
        ([["/dev/nvidia2", "/dev/nvidia3"]] * 2, ["2", "3"], "fault", "rank 4 sees no GPU"),
        ([[], []], None, "fault", "rank 4 sees no GPU"),
    ],
)
def test_gpus_that_a_cgroup_hides(openable: list, visible: list | None, status: str, saw: str) -> None:
    found = devices.binding([rank(number, visible, files) for number, files in enumerate(openable)], "n2")
    assert found.status == status and saw in found.saw, found


def test_what_a_process_may_open(tmp_path: Path) -> None:
    assert devices.openable(looking(tmp_path)) is None
    node(tmp_path, 2)
    (tmp_path / "dev/nvidia1").unlink()
    (tmp_path / "dev/nvidia1").mkdir()  # cannot be opened for writing, by root neither
    assert devices.openable(looking(tmp_path)) == ["/dev/nvidia0"]


def test_what_a_process_sees() -> None:
    assert devices.visible({}) is None
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "0,3"}) == ["0", "3"]
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}) == []
    assert devices.visible({"ROCR_VISIBLE_DEVICES": ""}) == []
