import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from doctor.looking import looking
from slipway.doctor.job import collectives
from slipway.doctor.job.collectives import bus_bandwidth, judge, neighbours, parts
from slipway.ranks.environment import listening_socket

HOSTS = {0: "n1", 1: "n1", 2: "n2", 3: "n2", 4: "n3", 5: "n3"}
INTER = "cluster.network.inter_node_gb_per_s=10"
INTRA = "cluster.network.intra_node_gb_per_s=100"


def test_parts() -> None:
    given = parts(HOSTS)
    assert given[2]["peers"] == [0, 4, None] and given[4]["peers"] == [None, 2, 0]
    assert given[3] == {
        "rank": 3,
        "world_size": 6,
        "node": 1,
        "local_rank": 1,
        "local_size": 2,
        "peers": [None, None, None],
    }


@pytest.mark.parametrize("nodes", range(9))
def test_each_node_meets_both_neighbours_once(nodes: int) -> None:
    met = [(a, b) for pairs in neighbours(nodes) for a, b in pairs.items()]
    assert len(met) == len(set(met))
    assert all((b, a) in met for a, b in met)
    ring = {(i, (i + 1) % nodes) for i in range(nodes)} if nodes > 2 else {(0, 1)} if nodes == 2 else set()
    assert {frozenset(pair) for pair in met} == {frozenset(pair) for pair in ring}


def test_a_full_jupiter() -> None:
    """5,884 nodes of four ranks: what each is told stays small."""
    begin = time.process_time()  # other tests run beside it
    given = parts({rank: f"jpbo-{rank // 4:05d}" for rank in range(4 * 5884)})
    assert time.process_time() - begin < 5
    assert given[23532]["peers"] == [23528, 0] and given[23535]["node"] == 5883
    assert len(json.dumps(given[23532])) < 200


def test_bus_bandwidth() -> None:
    assert bus_bandwidth(2, 10**9, 1.0) == 1.0
    assert bus_bandwidth(8, 10**9, 0.5) == pytest.approx(3.5)


def measured(slow: str = "", rate: float = 1.0, **more) -> dict[int, dict]:
    """Results of a cluster of three nodes: 10 GB/s between neighbours, 20 over all; a slow node's are 20 times less."""
    of_node = {"n1": {"n2", "n3"}, "n2": {"n1", "n3"}, "n3": {"n1", "n2"}}
    found = {}
    for rank, host in HOSTS.items():
        links = [(2.0 if slow in (host, other) else 0.1) / rate for other in of_node[host]]
        found[rank] = {
            "backend": "gloo",
            "bytes": 10**9,
            "log": None,
            "connections": [["eth0", "10.0.0.1"]],
            "all_reduce": (1.0 if slow else 2 * 5 / 6 / 20) / rate,
            "node_all_reduce": 0.01,
            "links": links if rank % 2 == 0 else [],
        } | more
    return found


def faults(results: dict, *overrides: str) -> set[tuple[str, str]]:
    return {
        (finding.name, finding.node)
        for finding in judge(results, HOSTS, looking(Path("/"), *overrides).config)
        if finding.status == "fault"
    }


def test_a_healthy_cluster() -> None:
    assert faults(measured(), INTER, INTRA) == set()
    assert faults(measured(rate=0.01)) == set()  # the profile says nothing, and all are alike


def test_a_slow_node_is_named() -> None:
    assert faults(measured("n2")) == {("links", "n2")}  # by its neighbours
    assert faults(measured("n2"), INTER) == {("links", "n2"), ("all-reduce", "")}


def test_a_slow_fabric_is_all_nodes() -> None:
    assert faults(measured(rate=0.4), INTER) == {(n, h) for n, h in [("all-reduce", "")]} | {
        ("links", host) for host in ("n1", "n2", "n3")
    }


def test_a_slow_link_within_a_node() -> None:
    results = measured()
    results[3] = results[3] | {"node_all_reduce": 0.1}
    assert faults(results, INTRA) == {("node-all-reduce", "n2")}


def test_who_failed_first_is_named() -> None:
    late = {"error": "stopped, another rank had failed", "late": True}
    results = {rank: late for rank in HOSTS} | {2: {"error": "ended with -11: no word"}}
    assert faults(results) == {("transport", "n2")}
    assert faults({rank: late for rank in HOSTS}) == {("transport", host) for host in ("n1", "n2", "n3")}
    del results[4]
    assert faults(results) == {("transport", "n2"), ("transport", "n3")}


def spec(**more) -> dict:
    return parts({0: "n1"})[0] | {"backend": "gloo", "address": "127.0.0.1", "seconds": 30} | more


def test_the_probe_runs() -> None:
    listener: socket.socket = listening_socket()
    port = listener.getsockname()[1]
    found = collectives.run(spec(port=port), 60, lambda: False, listener.fileno())
    listener.close()
    assert found["backend"] == "gloo" and "all_reduce" not in found  # one rank alone


def test_a_probe_that_fails_hangs_or_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/probe.py\n")
    program.chmod(0o755)
    monkeypatch.setattr(collectives.sys, "executable", str(program))
    (tmp_path / "probe.py").write_text("import sys; sys.exit('NCCL said no')")
    assert collectives.run(spec(), 20, lambda: False) == {"error": "ended with 1: NCCL said no"}
    (tmp_path / "probe.py").write_text("import time; time.sleep(60)")
    assert collectives.run(spec(), 0.5, lambda: False)["error"] == "no end after 0 s"
    assert collectives.run(spec(), 20, lambda: True)["late"]
    (tmp_path / "probe.py").write_text(f"print('noise'); print({json.dumps(json.dumps({'a': os.getpid()}))})")
    assert collectives.run(spec(), 20, lambda: False) == {"a": os.getpid()}
