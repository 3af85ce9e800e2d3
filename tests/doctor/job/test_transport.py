import pytest

from slipway.config.cluster import Network
from slipway.doctor.job import transport

# Lines as NCCL 2.18 to 2.27 and aws-ofi-nccl write them.
OVER_INFINIBAND = """\
n1:77:91 [0] NCCL INFO Bootstrap : Using ib0:10.0.0.1<0>
n1:77:91 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB ib0:10.0.0.1<0>
n1:77:91 [0] NCCL INFO Using network IB
n1:77:91 [0] NCCL INFO Channel 00/02 :    0   1
n1:77:91 [0] NCCL INFO Channel 00/0 : 3[3] -> 0[0] [receive] via NET/IB/0/GDRDMA
n1:77:91 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/IPC/read
"""
FELL_BACK = """\
n1:77:91 [0] NCCL INFO NET/Plugin : No plugin found (libnccl-net.so)
n1:77:91 [0] NCCL INFO NET/IB : No device found.
n1:77:91 [0] NCCL INFO NET/Socket : Using [0]ib0:10.0.0.1<0>
n1:77:91 [0] NCCL INFO Using network Socket
n1:77:91 [0] NCCL INFO Channel 00/0 : 3[3] -> 0[0] [receive] via NET/Socket/0
"""
NEWER = "n1:77:91 [0] NCCL INFO Assigned NET plugin Socket to comm\n"
PLUGIN = """\
n1:77:91 [0] NCCL INFO NET/OFI Selected Provider is {}
n1:77:91 [0] NCCL INFO Using network AWS Libfabric
n1:77:91 [0] NCCL INFO Channel 00/0 : 3[3] -> 0[0] [receive] via NET/AWS Libfabric/0/GDRDMA
"""


@pytest.mark.parametrize(
    ("log", "fabric", "status", "words"),
    [
        (OVER_INFINIBAND, "infiniband", "ok", "IB, IB/GDRDMA"),
        (FELL_BACK, "infiniband", "fault", "Socket"),
        (FELL_BACK, "ethernet", "ok", "Socket"),
        (FELL_BACK, None, "ok", "Socket"),
        (NEWER, "roce", "fault", "Socket"),
        (PLUGIN.format("cxi"), "slingshot", "ok", "AWS Libfabric"),
        (PLUGIN.format("efa, fabric is efa-direct"), "efa", "ok", "efa"),
        (PLUGIN.format("tcp;ofi_rxm"), "slingshot", "fault", "tcp;ofi_rxm"),
        ("", "infiniband", "warning", "nothing that its log names"),
    ],
)
def test_nccls_way(log: str, fabric: str | None, status: str, words: str) -> None:
    results = [{"backend": "nccl", "log": transport.in_log(log), "connections": []}]
    found = transport.judge("n1", results, Network.model_validate({"fabric": fabric}))
    assert (found.status, found.node) == (status, "n1")
    assert words in found.saw


def test_one_rank_of_many_that_fell_back() -> None:
    logs = [transport.in_log(text) for text in (OVER_INFINIBAND, FELL_BACK)]
    results = [{"backend": "nccl", "log": log, "connections": []} for log in logs]
    assert transport.judge("n1", results, Network(fabric="infiniband")).status == "fault"


@pytest.mark.parametrize(
    ("connections", "interfaces", "status"),
    [
        ([["eth0", "10.0.0.1"]], ["eth0"], "ok"),
        ([["eth0", "10.0.0.1"]], [], "ok"),
        ([["eth1", "10.1.0.1"]], ["eth0"], "fault"),
        ([["lo", "127.0.0.1"]], [], "fault"),
        ([["eth0", "10.0.0.1"], ["lo", "127.0.0.1"]], ["eth0"], "fault"),
        ([], ["eth0"], "skipped"),
    ],
)
def test_gloos_way(connections: list, interfaces: list[str], status: str) -> None:
    results = [{"backend": "gloo", "log": None, "connections": connections}]
    assert transport.judge("n1", results, Network(interfaces=interfaces)).status == status
