import time
from pathlib import Path

from doctor.looking import looking
from slipway.doctor.finding import Finding
from slipway.doctor.job import together
from slipway.host_lists import of_ranks

CONFIG = looking(Path("/"), "resources.nodes=3").config
VERSIONS = {"torch": "2.13.0", "slipway": "0.1.0"}


def report(host: str, rank: int, **more) -> dict:
    node = {"versions": VERSIONS, "data": "abc", "online": 4} | more.pop("node", {})
    own = {"rank": rank, "local_rank": 0, "host": host, "cores": [0, 1], "visible": None, "openable": None}
    return own | {"node": node, "offset": 0.0, "error": 0.001, "sees": True} | more


def faults(*reports: dict) -> dict[tuple[str, str], str]:
    found = together.compare({r["rank"]: r for r in reports}, CONFIG)
    return {(f.name, f.node): f.saw for f in found if f.status != "ok"}


def test_nodes_that_agree() -> None:
    assert faults(report("n1", 0, sees=None), report("n2", 1), report("n3", 2)) == {}


def test_the_node_that_differs_is_named() -> None:
    three = [
        report("n1", 0),
        report("n2", 1),
        report("n3", 2, node={"versions": VERSIONS | {"torch": "2.9"}}),
    ]
    assert faults(*three) == {("versions", "n3"): "slipway 0.1.0, torch 2.9"}
    three[2] = report("n3", 2, node={"data": "xyz"})
    assert faults(*three) == {("data", "n3"): "digest xyz"}
    three[2] = report("n3", 2, sees=False)
    assert faults(*three) == {("run-dir-shared", "n3"): "rank 0's file is not in runs/demo"}


def test_a_full_jupiter() -> None:
    reports = {
        rank: report(f"jpbo-{rank // 4:05d}", rank) | {"local_rank": rank % 4} for rank in range(23_600)
    }
    begin = time.process_time()
    assert all(f.status != "fault" for f in together.compare(reports, CONFIG) if f.name != "cpu-binding")
    assert time.process_time() - begin < 10


def test_clocks() -> None:
    assert together.clock("n2", 0.4, 0.001).status == "ok"
    assert together.clock("n2", 3.0, 2.5).status == "ok"  # the answer took five seconds: nothing is known
    assert together.clock("n2", -3.0, 0.1).status == "warning"
    late = together.clock("n2", 120.0, 0.1)
    assert (late.status, late.saw, late.node) == ("fault", "+120.0 s", "n2")


def test_who_did_not_answer() -> None:
    names = of_ranks("n[1-2]", "2(x2)")
    here = {0: report("n1", 0), 1: report("n1", 1)}
    found = together.missing(here, 4, names, 30, "n1:29500")
    assert [(f.node, f.status, f.saw) for f in found] == [("n2", "fault", "no word from rank 2-3")]
    assert [f.node for f in together.missing(here, 4, [], 30, "n1:29500")] == [""]
    cut = here | {rank: report("n2", rank, unreachable="refused") for rank in (2, 3)}
    found = together.missing(cut, 4, names, 30, "n1:29500")
    assert [(f.node, f.saw) for f in found] == [("n2", "rank 2-3 does not reach it: refused")]
    assert [f.status for f in together.missing(here, 2, names, 30, "n1:29500")] == ["ok"]


def fault(name: str, node: str) -> Finding:
    return Finding(name, "fault", "broken", "whole", "mend it", node)


def test_bad_nodes() -> None:
    nodes = ["n1", "n2", "n3", "n4"]
    assert together.bad_nodes([fault("shm", "n2")], nodes) == {"n2": ["shm: broken"]}
    assert together.bad_nodes([fault("shm", n) for n in nodes[:3]], nodes) == {}  # most have it: the job's
    assert together.bad_nodes([fault("cpu-binding", "n2")], nodes) == {}  # no other node would help
    pods = [
        f"ip-10-0-0-{i}.internal/demo-{i}" for i in range(3)
    ]  # the scheduler knows machines, with their domain
    assert together.bad_nodes([fault("shm", pods[1])], pods) == {"ip-10-0-0-1.internal": ["shm: broken"]}
    assert together.bad_nodes([fault("shm", "n1")], ["n1"]) == {}  # nor is there another
    master = [fault("master-address", "n1"), fault("answers", "n2")]
    assert together.bad_nodes(master, nodes) == {}


def test_nodes_that_agree_are_one_line() -> None:
    found = [fault("shm", "n1"), fault("shm", "n2"), fault("rdma", "n2")]
    assert [(f.name, names) for f, names in together.folded(found)] == [("shm", "n[1-2]"), ("rdma", "n2")]
    fine = [Finding("links", "ok", f"{rate} GB/s", "fast", node=f"n{rate}") for rate in (1, 2, 3)]
    assert [(f.saw, names) for f, names in together.summed([*found, *fine])][-1] == (
        "1 GB/s ... 3 GB/s",
        "n[1-3]",
    )
    assert together.line(found[0]) == "slipway doctor: n1: shm: saw broken; expected whole; mend it"
