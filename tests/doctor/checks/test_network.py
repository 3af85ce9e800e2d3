from pathlib import Path

import pytest

from doctor.looking import looking, plant
from slipway.doctor.checks import network
from slipway.doctor.checks.network import Interface

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
        ("=ib0", ""),
        ("ib0,ib1", "ib1 is down"),
        ("ib*", "ib1 is down"),
        ("hsn*", "hsn* does not exist"),
        ("^ib1,^eth0,^lo", ""),
        ("^ib", "of eth0 none is usable"),
        ("eth0", "eth0 has no address"),
        ("hsn0", "hsn0 does not exist"),
        ("lo", "lo is the loopback"),
    ],
)
def test_the_profiles_interfaces(names: str, trouble: str) -> None:
    own = OWN if names != "^ib" else {name: one for name, one in OWN.items() if name != "lo"}
    quoted = ",".join(f"'{name}'" for name in names.split(","))
    found = network.interfaces(looking(Path("/"), f"cluster.network.interfaces=[{quoted}]"), own)
    assert found.status == ("fault" if trouble else "ok") and trouble in found.saw, found
    assert not trouble or "usable here: ib0" in found.advice


def test_this_machine_has_a_loopback() -> None:
    assert any(interface.loopback and interface.up for interface in network.own_interfaces().values())


@pytest.mark.parametrize(
    ("variables", "trouble"),
    [
        ({"NCCL_SOCKET_IFNAME": "ib"}, "takes ib1, but the profile says ib0"),  # a prefix
        ({"NCCL_SOCKET_IFNAME": "ib0"}, ""),
        ({"NCCL_SOCKET_IFNAME": "=ib0,eth0"}, "takes eth0"),
        ({"NCCL_SOCKET_IFNAME": "ib0;ib1"}, "must be NAME"),
        ({"NCCL_SOCKET_IFNAME": "=ib"}, "no such interface"),
        ({"NCCL_SOCKET_IFNAME": "=ib0"}, ""),
        ({"NCCL_SOCKET_IFNAME": "^lo"}, ""),
        ({"GLOO_SOCKET_IFNAME": "ib"}, "no such interface"),  # gloo takes none
        ({"GLOO_SOCKET_IFNAME": "lo"}, "the loopback reaches no other node"),
        ({"GLOO_SOCKET_IFNAME": "eth0"}, "the profile says ib0"),
        ({"NCCL_IB_DISABLE": "1"}, "NCCL_IB_DISABLE=1"),
        ({"NCCL_NET": "socket"}, "NCCL_NET=Socket"),
        ({"NCCL_IB_TIMEOUT": "120"}, "NCCL_IB_TIMEOUT: 120 is outside of 1 to 22"),
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


@pytest.mark.parametrize(
    ("adapters", "given", "rdma", "settings"),
    [
        ("[mlx5_0,mlx5_1]", "=mlx5_0,mlx5_1", "", ""),
        ("[mlx5_0,mlx5_1]", "mlx5_0,mlx5_1", "", "takes mlx5_10"),
        ("['mlx5_1:1']", "=mlx5_1:1", "", ""),
        ("['mlx5_1:2']", "", "mlx5_1: 1: DOWN", ""),
        ("[mlx5]", "=mlx5", "no adapter mlx5", "no such adapter: mlx5"),
        ("['mlx5*']", "mlx5", "", ""),
        ("['^mlx5_10']", "^mlx5_10", "", ""),
        ("['^mlx5']", "^mlx5", "none is left", ""),
    ],
)
def test_adapters_by_name_and_by_variable(
    tmp_path: Path, adapters: str, given: str, rdma: str, settings: str
) -> None:
    """The profile and NCCL_IB_HCA are read alike: exact names, ports, beginnings, exclusions."""
    plant(tmp_path / "dev/infiniband/uverbs0")
    for name, states in {"mlx5_0": "AD", "mlx5_1": "AD", "mlx5_10": "D"}.items():
        for port, state in enumerate(states, 1):
            text = {"A": "4: ACTIVE\n", "D": "1: DOWN\n"}[state]
            plant(tmp_path / f"sys/class/infiniband/{name}/ports/{port}/state", text)
    words = ("cluster.network.fabric=infiniband", f"cluster.network.adapters={adapters}")
    here = looking(tmp_path, *words, environment={"NCCL_IB_HCA": given})
    for found, trouble in ((network.rdma(here), rdma), (network.settings(here, OWN), settings)):
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
