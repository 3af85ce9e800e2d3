import pytest

from refusals import refused
from slipway.config.compose import compose
from slipway.config.variables import trouble


@pytest.mark.parametrize(
    ("environment", "network", "said"),
    [
        ({"NCCL_IB_TIMEOUT": "22"}, {}, None),
        ({"NCCL_IB_TIMEOUT": "120"}, {}, "NCCL_IB_TIMEOUT: 120 is outside of 1 to 22"),
        ({"NCCL_IB_TIMEOUT": "0"}, {}, "outside of 1 to 22"),
        ({"NCCL_IB_TIMEOUT": "long"}, {}, "outside of 1 to 22"),
        ({"NCCL_IB_RETRY_CNT": "10"}, {}, "outside of 0 to 7"),
        ({"NCCL_NVLS_ENABLE": "false"}, {}, "is none of 0, 1, 2"),
        ({"NCCL_NET_GDR_LEVEL": "phb"}, {}, None),
        ({"NCCL_SOCKET_FAMILY": "ipv4"}, {}, "is none of AF_INET, AF_INET6"),
        ({"NCCL_NSOCKS_PERTHREAD": "8", "NCCL_SOCKET_NTHREADS": "8"}, {}, None),
        (
            {"NCCL_NSOCKS_PERTHREAD": "8", "NCCL_SOCKET_NTHREADS": "16"},
            {},
            "8 x NCCL_SOCKET_NTHREADS 16 = 128",
        ),
        ({"NCCL_IB_HCA": "mlx5"}, {}, None),
        ({"NCCL_IB_HCA": "mlx5"}, {"adapters": ["mlx5_0"]}, "network.adapters says it already"),
        ({"GLOO_SOCKET_IFNAME": "ib0"}, {"interfaces": ["ib0"]}, "network.interfaces says it already"),
        ({"NCCL_NET": "Socket"}, {"fabric": "infiniband"}, "over TCP"),
        ({"NCCL_NET": "Socket"}, {"fabric": "ethernet"}, None),
        ({"NCCL_IB_DISABLE": "1"}, {"fabric": "slingshot"}, None),
        ({"NCCL_NET": "IB"}, {"fabric": "slingshot"}, "needs InfiniBand"),
        ({"MADE_UP": "120"}, {}, None),
    ],
)
def test_values_that_cannot_be_meant(environment: dict, network: dict, said: str | None) -> None:
    found = trouble(environment, network)
    assert found is None if said is None else found is not None and said in found


def test_a_profile_with_one_is_refused_in_one_line() -> None:
    with refused("cluster.environment", "NCCL_IB_TIMEOUT", 120, 1, 22, value="{'NCCL_IB_TIMEOUT': '120'}"):
        compose(["cluster=slurm", "+cluster.environment.NCCL_IB_TIMEOUT='120'"])
