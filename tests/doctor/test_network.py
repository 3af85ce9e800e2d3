from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.doctor import network
from slipway.doctor.network import Interface

OWN = {
    "lo": Interface(True, ("127.0.0.1", "::1")),
    "ib0": Interface(True, ("10.0.0.1",)),
    "ib1": Interface(False, ("10.0.1.1",)),
    "eth0": Interface(True, ()),
}


@pytest.mark.parametrize(
    ("names", "trouble"),
    [
        ("ib0", ""),
        ("ib0,ib1", "ib1 is down"),
        ("eth0", "eth0 has no address"),
        ("hsn0", "hsn0 does not exist"),
        ("lo", "lo is the loopback"),
    ],
)
def test_the_profiles_interfaces(names: str, trouble: str) -> None:
    found = network.interfaces(looking(Path("/"), f"cluster.network.interfaces=[{names}]"), OWN)
    assert found.status == ("fault" if trouble else "ok") and trouble in found.saw
    assert not trouble or "usable here: ib0" in found.advice


def test_this_machine_has_a_loopback() -> None:
    assert any(interface.loopback and interface.up for interface in network.own_interfaces().values())


@pytest.mark.parametrize(
    ("variables", "trouble"),
    [
        ({"NCCL_SOCKET_IFNAME": "ib"}, ""),  # a prefix
        ({"NCCL_SOCKET_IFNAME": "=ib0"}, ""),
        ({"NCCL_SOCKET_IFNAME": "^lo"}, ""),
        ({"GLOO_SOCKET_IFNAME": "ib"}, "no such interface"),  # gloo takes none
        ({"GLOO_SOCKET_IFNAME": "lo"}, "the loopback reaches no other node"),
        ({"GLOO_SOCKET_IFNAME": "eth0"}, "the profile says ib0"),
        ({"NCCL_IB_DISABLE": "1"}, "NCCL_IB_DISABLE=1"),
        ({"NCCL_NET": "socket"}, "NCCL_NET=Socket"),
    ],
)
def test_settings_that_go_another_way(variables: dict[str, str], trouble: str) -> None:
    profile = ("cluster.network.interfaces=[ib0]", "cluster.network.fabric=infiniband")
    found = network.settings(looking(Path("/"), *profile, environment=variables), OWN)
    assert found.status == ("fault" if trouble else "ok") and trouble in found.saw, found


@pytest.mark.parametrize(
    ("fabric", "files", "trouble"),
    [
        ("infiniband", ["dev/infiniband/uverbs0", "sys/class/infiniband/mlx5_0/ports/1/state"], ""),
        (
            "infiniband",
            ["dev/infiniband/rdma_cm", "sys/class/infiniband/mlx5_0/ports/1/state"],
            "no /dev/infiniband/uverbs*",
        ),
        ("roce", ["dev/infiniband/uverbs0"], "no adapter mlx5_0"),
        ("slingshot", ["dev/cxi0"], ""),
        ("slingshot", [], "no /dev/cxi*"),
        ("efa", [], "no /dev/infiniband/uverbs*"),
    ],
)
def test_devices_of_the_fabric(tmp_path: Path, fabric: str, files: list[str], trouble: str) -> None:
    for name in files:
        plant(tmp_path / name, "4: ACTIVE\n")
    adapters = "[]" if fabric == "efa" else "[mlx5_0]"
    here = looking(tmp_path, f"cluster.network.fabric={fabric}", f"cluster.network.adapters={adapters}")
    found = network.rdma(here)
    assert found.status == ("fault" if trouble else "ok") and trouble in found.saw, found


def test_a_port_that_is_down(tmp_path: Path) -> None:
    plant(tmp_path / "dev/infiniband/uverbs0")
    plant(tmp_path / "sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n")
    here = looking(tmp_path, "cluster.network.fabric=infiniband", "cluster.network.adapters=['mlx5_0:1']")
    assert network.rdma(here).saw == "mlx5_0: 1: DOWN"
    assert network.rdma(looking(tmp_path, "cluster.network.fabric=ethernet")).status == "skipped"


@pytest.mark.parametrize(
    ("master", "rank", "trouble"),
    [
        ("10.0.0.1", 0, ""),
        ("10.0.0.9", 0, "which is not n1: it has 10.0.0.1"),
        ("10.0.0.9", 1, ""),  # another rank cannot know
        ("127.0.1.1", 1, "the loopback"),
        ("gone.invalid", 1, "does not resolve"),
    ],
)
def test_master_address(master: str, rank: int, trouble: str) -> None:
    found = network.master_address(looking(rank=rank, master=master), OWN)
    assert found.status == ("fault" if trouble else "ok") and trouble in found.saw, found


def test_one_node_may_talk_to_itself() -> None:
    assert network.master_address(looking(ranks=4, per_node=4, master="localhost"), OWN).status == "ok"
