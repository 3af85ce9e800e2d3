from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.doctor import devices

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


def rank(number: int, visible: list[str] | None) -> dict:
    return {"rank": 4 + number, "local_rank": number, "visible": visible}


@pytest.mark.parametrize(
    ("visible", "fault"),
    [
        ([None, None], ""),
        ([["0", "1"], ["0", "1"]], ""),
        ([["0"], ["1"]], "rank 5 sees 1, and wants number 1 of them"),  # --gpus-per-task=1
        ([["0", "1"], ["1", "0"]], "ranks 4 and 5 take device 0"),
        ([["0"], []], "rank 5 sees none"),
    ],
)
def test_each_rank_has_a_device_of_its_own(visible: list, fault: str) -> None:
    found = devices.binding([rank(number, seen) for number, seen in enumerate(visible)], "n2")
    assert (found.status, found.node) == ("fault" if fault else "ok", "n2")
    assert fault in found.saw


def test_what_a_process_sees() -> None:
    assert devices.visible({}) is None
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "0,3"}) == ["0", "3"]
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}) == []
    assert devices.visible({"ROCR_VISIBLE_DEVICES": ""}) == []
