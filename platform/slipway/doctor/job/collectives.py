"""Collectives: who takes which part in the probe, how it is run, and how its measurements are judged."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.doctor.finding import Finding, judged
from slipway.doctor.job import transport

TOLERANCE = 0.5  # of the profile's bandwidth: a healthy all-reduce reaches 70 to 95 % of it
SLOW = {
    "nccl": 0.25,
    "gloo": 0.1,
}  # of the other nodes' links; CPU ranks share their cores with their messages

Result = Mapping[str, Any]


def parts(hosts: Mapping[int, str]) -> dict[int, dict[str, Any]]:
    """Return each rank's part in the probe, by rank.

    A part has its node (numbered in the order of the ranks), its place there, and whom it meets in each round of
    `neighbours`. The first rank of a node speaks for it; the others meet None.
    """
    nodes = by_node(hosts)
    leaders = [ranks[0] for ranks in nodes.values()]
    rounds = neighbours(len(nodes))
    found = {}
    for number, ranks in enumerate(nodes.values()):
        met = [pairs.get(number) for pairs in rounds]
        for local, rank in enumerate(ranks):
            found[rank] = {
                "rank": rank,
                "world_size": len(hosts),
                "node": number,
                "local_rank": local,
                "local_size": len(ranks),
                "peers": [None if local or node is None else leaders[node] for node in met],
            }
    return found


def by_node(hosts: Mapping[int, str]) -> dict[str, list[int]]:
    """Return the ranks of each node, in order."""
    nodes: dict[str, list[int]] = {}
    for rank in sorted(hosts):
        nodes.setdefault(hosts[rank], []).append(rank)
    return nodes


def neighbours(nodes: int) -> list[dict[int, int]]:
    """Return rounds of pairs in a ring of nodes. Each node meets both neighbours, and no node is twice in one round."""
    if nodes < 2:
        return []
    rounds = [[(i, i + 1) for i in range(0, nodes - 1, 2)], [(i, i + 1) for i in range(1, nodes - 1, 2)]]
    if nodes > 2:
        closing = (nodes - 1, 0)
        if nodes % 2 == 0:
            rounds[1].append(closing)
        else:
            rounds.append([closing])
    return [{a: b for x, y in pairs for a, b in ((x, y), (y, x))} for pairs in rounds if pairs]


def run(
    spec: Mapping[str, Any], seconds: float, stop: Callable[[], bool], listen_fd: int | None = None
) -> dict:
    """Run the probe in a process of its own, and return its result.

    The result is {"error": ...} if the probe fails, hangs for `seconds`, or stop() returns True.
    """
    words = dict(spec) | ({"listen_fd": listen_fd} if listen_fd is not None else {})
    process = subprocess.Popen(
        [*python(), "-m", "slipway.doctor.job.probe", json.dumps(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=() if listen_fd is None else (listen_fd,),
    )
    limit = time.monotonic() + seconds
    try:
        while True:
            try:
                out, err = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > limit:
                    return {"error": f"no end after {seconds:.0f} s", "late": True}
                if stop():
                    return {"error": "stopped, another rank had failed", "late": True}
    finally:
        process.kill()
        process.communicate()
    if process.returncode == 0:
        return json.loads(out.splitlines()[-1])
    last = next((line for line in reversed(err.splitlines()) if line.strip()), "no word")
    return {"error": f"ended with {process.returncode}: {' '.join(last.split())[:300]}"}


def python() -> list[str]:
    """Return the command of this Python, which looks for modules in the current directory only if this process does."""
    return [sys.executable, *(["-P"] if sys.flags.safe_path else [])]


def judge(results: Mapping[int, Result], hosts: Mapping[int, str], config: RunConfig) -> list[Finding]:
    """Return findings about the ranks' measurements, against the profile. results: by rank, of those that answered."""
    nodes = by_node(hosts)
    failed = _failed(results, nodes)
    if failed:
        return failed
    found = []
    if len(nodes) > 1:
        network = config.cluster.network
        found += [
            transport.judge(host, [results[r] for r in ranks], network) for host, ranks in nodes.items()
        ]
        found += _links({host: results[ranks[0]] for host, ranks in nodes.items()}, config)
        found.append(_all_reduce(results, len(nodes), config))
    found += _node_all_reduce({host: [results[r] for r in ranks] for host, ranks in nodes.items()}, config)
    return found


def _failed(results: Mapping[int, Result], nodes: Mapping[str, Sequence[int]]) -> list[Finding]:
    """Return findings about nodes whose probe failed by itself; if none did, about those that hung or fell silent."""
    expected = "a sum over all ranks"
    errors: dict[str, str] = {}
    late: dict[str, str] = {}
    for host, ranks in nodes.items():
        for rank in ranks:
            result = results.get(rank)
            if result is None:
                errors.setdefault(host, f"rank {rank} gave no answer")
            elif "error" in result:
                (late if result.get("late") else errors).setdefault(host, f"rank {rank}: {result['error']}")
    advice = "see the rank's own log; NCCL_DEBUG=INFO says more"
    return [
        Finding("transport", "fault", why, expected, advice, host) for host, why in (errors or late).items()
    ]


def bus_bandwidth(size: int, bytes_each: int, seconds: float) -> float:
    """Return the GB/s of an all-reduce over `size` ranks: 2 (n - 1) / n x bytes / time.

    The formula is from nccl-tests, doc/PERFORMANCE.md.
    """
    return 2 * (size - 1) / size * bytes_each / seconds / 1e9


def _all_reduce(results: Mapping[int, Result], nodes: int, config: RunConfig) -> Finding:
    size, network = len(results), config.cluster.network
    slowest = max(result["all_reduce"] for result in results.values())
    measured = bus_bandwidth(size, next(iter(results.values()))["bytes"], slowest)
    # the bus bandwidth of a ring over nodes is that of all links of a node together, at most that within a node
    inter, intra = network.inter_node_gb_per_s, network.intra_node_gb_per_s
    wanted = None
    if inter is not None:
        wanted = inter * (size // nodes)
        wanted = min(wanted, intra) if intra is not None and size > nodes else wanted
    advice = "see the checks transport and links; else another job, or the fabric: tell the site"
    return _against("all-reduce", measured, wanted, f"over {size} ranks", advice, "")


def _node_all_reduce(nodes: Mapping[str, Sequence[Result]], config: RunConfig) -> list[Finding]:
    found = []
    for host, results in nodes.items():
        if "node_all_reduce" not in results[0]:
            continue
        slowest = max(result["node_all_reduce"] for result in results)
        measured = bus_bandwidth(len(results), results[0]["bytes"], slowest)
        advice = "a GPU or a link within the node is slow: leave the node out, tell the site"
        wanted = config.cluster.network.intra_node_gb_per_s
        found.append(
            _against("node-all-reduce", measured, wanted, f"over {len(results)} ranks", advice, host)
        )
    return found


def _links(leaders: Mapping[str, Result], config: RunConfig) -> list[Finding]:
    """Return a finding for each node, by the better of its two links: a slow node slows one link of each neighbour."""
    best = {
        host: max(result["bytes"] / seconds / 1e9 for seconds in result["links"])
        for host, result in leaders.items()
        if result["links"]
    }
    usual = statistics.median(best.values()) if best else 0.0
    wanted = config.cluster.network.inter_node_gb_per_s
    advice = "the node's adapter, cable or switch port is slow: leave the node out, tell the site"
    share, found = SLOW[backend(config)], []
    for host, measured in best.items():
        if len(best) > 2 and measured < share * usual:
            expected = f"{_rate(share * usual)} or more, {share:.0%} of what most nodes reach, {_rate(usual)}"
            found.append(Finding("links", "fault", _rate(measured), expected, advice, host))
        else:
            found.append(
                _against("links", measured, wanted, "to the better one of its neighbours", advice, host)
            )
    return found


def _against(name: str, measured: float, wanted: float | None, where: str, advice: str, host: str) -> Finding:
    saw = f"{_rate(measured)} {where}"
    if wanted is None:
        return Finding(name, "ok", saw, "the profile says nothing", node=host)
    expected = f"{_rate(TOLERANCE * wanted)} or more: {TOLERANCE:.0%} of the profile's {_rate(wanted)}"
    return judged(measured >= TOLERANCE * wanted, name, saw, expected, advice, node=host)


def _rate(gb_per_s: float) -> str:
    return f"{gb_per_s:.3g} GB/s"


def backend(config: RunConfig) -> str:
    """Return the backend that the trainer uses, too."""
    return "nccl" if config.cluster.device.kind == "cuda" else "gloo"
