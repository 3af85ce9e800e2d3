"""The comparison of the nodes' and ranks' reports by rank 0. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway.config.schema import RunConfig
from slipway.doctor.checks import cores, devices
from slipway.doctor.finding import BY_NAME, Finding
from slipway.host_lists import fold, ranges

CLOCK_SECONDS = 1.0
CLOCK_FAULT_SECONDS = 30.0

Report = Mapping[str, Any]
"""node.of_rank of one rank, with `node` (node.of_node or None), `offset`, `error` (s), `sees`, `unreachable`."""


def compare(reports: Mapping[int, Report], config: RunConfig) -> list[Finding]:
    """Return the findings of all comparisons between the ranks that answered."""
    leaders = {report["host"]: report for report in reports.values() if report.get("node")}
    found = _versions({host: report["node"]["versions"] for host, report in leaders.items()})
    found += _data({host: report["node"]["data"] for host, report in leaders.items()}, config)
    for host, report in leaders.items():
        if report.get("sees") is not None:
            found.append(_shared(host, report["sees"], config))
        if report.get("offset") is not None:
            found.append(clock(host, report["offset"], report["error"]))
    of_host: dict[str, list[Report]] = {}
    for _, report in sorted(reports.items()):
        of_host.setdefault(report["host"], []).append(report)
    for host in leaders:
        ranks = of_host[host]
        if config.cluster.device.kind != "cpu":
            found.append(devices.binding(ranks, host))
        found.append(cores.binding(ranks, leaders[host]["node"]["online"], config, host))
    return found


def _versions(of: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Return findings about the versions of each node: those that differ from most nodes' are faults."""
    if len(of) < 2:
        return []
    texts = {host: ", ".join(f"{k} {v[:19]}" for k, v in sorted(facts.items())) for host, facts in of.items()}
    usual = Counter(texts.values()).most_common(1)[0][0]
    advice = "start the same image on all nodes; exclude a node that has an old copy of it"
    return [
        Finding("versions", "ok", text, "the same on all nodes", node=host)
        if text == usual
        else Finding("versions", "fault", text, f"as on most nodes: {usual}", advice, host)
        for host, text in texts.items()
    ]


def _data(of: Mapping[str, str | None], config: RunConfig) -> list[Finding]:
    """Return findings about nodes whose prepared data differs from most nodes'.

    If no node has any, the check `data` reports it.
    """
    there = [digest for digest in of.values() if digest]
    if not there:
        return []
    usual = Counter(there).most_common(1)[0][0]
    advice = "keep prepared data on a file system that all nodes share, or the same copy on each node"
    return [
        Finding("data", "fault", f"digest {digest}", f"as on most nodes: {usual}", advice, host)
        for host, digest in of.items()
        if digest and digest != usual
    ]


def _shared(host: str, sees: bool, config: RunConfig) -> Finding:
    expected = "the file that rank 0 has just written there"
    if sees:
        return Finding("run-dir-shared", "ok", "rank 0's file is seen", expected, node=host)
    saw = f"rank 0's file is not in {config.run.dir}"
    advice = "choose a run.dir on a shared file system; exclude a node that lacks its mount"
    return Finding("run-dir-shared", "fault", saw, expected, advice, host)


def clock(host: str, offset: float, error: float) -> Finding:
    """Return whether a node's clock agrees with rank 0's.

    offset: the seconds that it is ahead; error: half of the round trip, in seconds.
    """
    sure = max(0.0, abs(offset) - error)
    saw = f"{offset:+.1f} s" if abs(offset) >= 0.05 else "the same, within 0.1 s"
    expected = f"within {CLOCK_SECONDS:.0f} s of rank 0's"
    if sure <= CLOCK_SECONDS:
        return Finding("clock", "ok", saw, expected, node=host)
    status = "fault" if sure > CLOCK_FAULT_SECONDS else "warning"
    return Finding(
        "clock",
        status,
        saw,
        expected,
        "ask the site to synchronise this node (NTP, chrony), or exclude it",
        host,
    )


def missing(
    reports: Mapping[int, Report], world_size: int, names: Sequence[str], seconds: float, address: str
) -> list[Finding]:
    """Return findings about ranks that did not answer.

    names: the node of each rank, empty if the launcher does not tell; address: rank 0's.
    """
    expected = f"every rank reaches {address} within {seconds:.0f} s"
    silent = sorted(set(range(world_size)) - set(reports))
    by_node: dict[str, list[int]] = {}
    for rank in silent:
        by_node.setdefault(names[rank] if len(names) == world_size else "", []).append(rank)
    found = []
    for host, ranks in by_node.items():
        advice = "the node hangs, is down, or cannot reach rank 0: look at its log, and exclude it"
        found.append(
            Finding("answers", "fault", f"no word from rank {ranges(ranks)}", expected, advice, host)
        )
    cut: dict[str, tuple[list[int], str]] = {}
    for rank, report in sorted(reports.items()):
        if why := report.get("unreachable"):
            cut.setdefault(report["host"], ([], why))[0].append(rank)
    for host, (ranks, why) in cut.items():
        advice = "see MASTER_ADDR, and whether the node's network lets it reach the first node"
        found.append(
            Finding(
                "answers", "fault", f"rank {ranges(ranks)} does not reach it: {why}", expected, advice, host
            )
        )
    if not found:
        found.append(Finding("answers", "ok", f"all {world_size} ranks answered", expected))
    return found


def bad_nodes(findings: Sequence[Finding], nodes: Sequence[str]) -> dict[str, list[str]]:
    """Return the nodes to leave out on a retry, and why.

    A fault that more than half of the nodes have belongs to the job, and so does silence if MASTER_ADDR is wrong:
    leaving nodes out would not help.
    """
    faults = [f for f in findings if f.status == "fault" and f.node and BY_NAME[f.name].of_node]
    if any(f.name == "master-address" and f.status == "fault" for f in findings):
        faults = [fault for fault in faults if fault.name != "answers"]
    count = Counter(name for name, _ in {(fault.name, fault.node) for fault in faults})
    bad: dict[str, list[str]] = {}
    for fault in faults:
        if len(nodes) > 1 and 2 * count[fault.name] <= len(nodes):
            machine = fault.node.partition("/")[0]  # the MACHINE of MACHINE/POD
            bad.setdefault(machine, []).append(f"{fault.name}: {fault.saw}")
    return bad


def line(finding: Finding) -> str:
    """Return a finding as one line for standard error."""
    where = f"{finding.node}: " if finding.node else ""
    return f"slipway doctor: {where}{finding.name}: saw {finding.saw}; expected {finding.expected}; {finding.advice}"


def summed(findings: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """Return findings as `folded` does, and a check that is ok on many nodes as one, even if each saw its own."""
    rows = folded([f for f in findings if f.status not in ("ok", "skipped")])
    fine: dict[str, list[Finding]] = {}
    for f in findings:
        if f.status == "ok":
            fine.setdefault(f.name, []).append(f)
    for group in fine.values():
        seen = list(dict.fromkeys(f.saw for f in group))
        saw = seen[0] if len(seen) == 1 else f"{seen[0]} ... {seen[-1]}"
        rows.append((replace(group[0], saw=saw), fold(f.node for f in group if f.node)))
    return rows


def folded(findings: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """Return findings that differ only in their node as one, with the names of the nodes."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.name, f.status, f.saw, f.expected, f.advice), []).append(f)
    return [(group[0], fold(f.node for f in group if f.node)) for group in groups.values()]
