"""Names of interfaces and adapters, as profiles and NCCL have them, against NCCL's own rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.config import selection
from slipway.config.cluster import Network
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.launch import fabric

NODE = ["lo", "ib0", "ib1", "ib10", "mlx5_0", "mlx5_1", "mlx5_10", "docker0", "eth0"]


def nccl_takes(value: str, name: str) -> bool:
    """NCCL's reading (parseStringList and matchIfList in its source), written down apart from ours; without ports."""
    left_out, value = value.startswith("^"), value.removeprefix("^")
    exact, value = value.startswith("="), value.removeprefix("=")
    words = [word.partition(":")[0] for word in value.split(",")]
    return any(name == word if exact else name.startswith(word) for word in words) != left_out


@pytest.mark.parametrize(
    ("profile", "kept", "nccl", "gloo", "taken"),
    [
        (["ib0", "ib1"], ["ib0", "ib1"], "=ib0,ib1", "ib0,ib1", "ib0 ib1"),
        (["=ib0", "ib1"], ["ib0", "ib1"], "=ib0,ib1", "ib0,ib1", "ib0 ib1"),
        (["=ib0,ib1"], ["ib0", "ib1"], "=ib0,ib1", "ib0,ib1", "ib0 ib1"),
        (["ib*"], ["ib*"], "ib", None, "ib0 ib1 ib10"),
        (
            ["^docker", "^lo"],
            ["^docker*", "^lo*"],
            "^docker,lo",
            None,
            "ib0 ib1 ib10 mlx5_0 mlx5_1 mlx5_10 eth0",
        ),
        (["^=ib1,lo"], ["^=ib1", "^=lo"], "^=ib1,lo", None, "ib0 ib10 mlx5_0 mlx5_1 mlx5_10 docker0 eth0"),
    ],
)
def test_a_profiles_names(
    profile: list[str], kept: list[str], nccl: str, gloo: str | None, taken: str
) -> None:
    network = Network(interfaces=profile)
    assert network.interfaces == kept
    assert Network(interfaces=kept) == network
    environment = fabric.environment(network)
    assert (environment["NCCL_SOCKET_IFNAME"], environment.get("GLOO_SOCKET_IFNAME")) == (nccl, gloo)
    items = selection.of_profile(network.interfaces)
    assert [name for name in NODE if selection.takes(items, name)] == taken.split()
    assert [name for name in NODE if nccl_takes(nccl, name)] == taken.split()


@given(
    st.sampled_from(["", "=", "^", "^="]),
    st.lists(st.sampled_from(["ib", "ib1", "mlx5_1", "mlx5_1:1", "lo", "x"]), min_size=1, max_size=3),
)
def test_a_variable_is_read_as_nccl_reads_it_and_survives_a_profile(sign: str, names: list[str]) -> None:
    value = sign + ",".join(names)
    items = selection.of_nccl(value)
    assert [selection.takes(items, name, 1) for name in NODE] == [nccl_takes(value, name) for name in NODE]
    again = Network(adapters=[str(item) for item in items])
    assert fabric.environment(again) == {"NCCL_IB_HCA": value}


def test_ports_of_an_adapter() -> None:
    only, but = selection.of_profile(["mlx5_0:1"]), selection.of_profile(["^=mlx5_0:1"])
    assert [selection.takes(only, "mlx5_0", port) for port in (None, 1, 2)] == [True, True, False]
    assert [selection.takes(but, "mlx5_0", port) for port in (None, 1, 2)] == [True, False, True]
    assert fabric.environment(Network(adapters=["mlx5_0:1", "mlx5_1:2"])) == {
        "NCCL_IB_HCA": "=mlx5_0:1,mlx5_1:2"
    }


@pytest.mark.parametrize(
    ("field", "items"),
    [
        ("adapters", "[mlx5_0,'^mlx5_1']"),
        ("adapters", "[mlx5_0,'mlx5_1*']"),
        ("adapters", "['mlx5_0:x']"),
        ("interfaces", "['ib0:1']"),
        ("interfaces", "['a b']"),
        ("interfaces", "['ib0,']"),
        ("interfaces", "[1]"),
    ],
)
def test_what_no_list_can_say_is_refused(field: str, items: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(["cluster=slurm", f"cluster.network.{field}={items}"])
    assert caught.value.path.startswith(f"cluster.network.{field}")


def test_the_whole_list_in_nccls_notation() -> None:
    network = compose(["cluster=slurm", "cluster.network.adapters='=mlx5_0,mlx5_1'"]).cluster.network
    assert network.adapters == ["mlx5_0", "mlx5_1"]
