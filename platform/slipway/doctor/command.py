"""`slipway doctor`: examine this node or, with all ranks of a job, all of its nodes."""

import argparse
import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.doctor import node, report
from slipway.doctor.checks import storage
from slipway.doctor.finding import CHECKS, Finding
from slipway.doctor.here import Here, host_name
from slipway.doctor.job import exchange, together
from slipway.doctor.job.lead import lead
from slipway.doctor.job.pod import alone, start_ranks
from slipway.errors import EXIT_DONE, EXIT_FAULT, UserError
from slipway.plan import plan_file
from slipway.ranks.environment import Node, launched
from slipway.runs import bad_nodes

COLLECTIVE = ("answers", "transport", "links", "all-reduce", "node-all-reduce")
OF_SEVERAL = ("versions", "run-dir-shared", "device-binding", "cpu-binding", "clock")
GRACE_SECONDS = 10.0


def run_file(path: Path, changed: Sequence[str], options: argparse.Namespace) -> int:
    """Examine for the run in a plan.json, changed by KEY=JSON words. Return the exit code."""
    return run(plan_file.read_config(path, changed), options)


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """Examine, print, and name faults on standard error. Return the exit code: 1 if any check found a fault.

    Options: `collectives`, `json`, `bad_nodes`, `timeout` (s), `root`. Raises UserError.
    """
    place = launched(os.environ)
    if place is None and options.collectives:
        place = alone(config)
    if isinstance(place, Node):
        return start_ranks(config, options, place)
    here = Here(config, dict(os.environ), host_name(os.environ), place, _root(options.root))
    if place is None:
        watch(here, options.timeout)
        found = node.examine(here)
        left_out = [f.name for f in found if f.status == "skipped" and "compute node" in f.saw]
        return tell(here, [here.host], found, [*left_out, *OF_SEVERAL, *COLLECTIVE], options, job=False)
    watch(here, 4 * options.timeout + GRACE_SECONDS)
    if place.rank == 0:
        left_out = [] if options.collectives else list(COLLECTIVE[1:])

        def say(found: Sequence[Finding], nodes: Sequence[str]) -> int:
            return tell(here, nodes, found, left_out, options, job=True)

        return asyncio.run(lead(here, options.collectives, options.timeout, say))
    return follow(here, options.timeout)


def _root(given: Path | None) -> Path:
    if given is not None and not given.is_dir():
        raise UserError("doctor --root", "is not a directory", value=given, do="name a directory")
    return given or Path("/")


def watch(here: Here, seconds: float) -> None:
    """End this process after `seconds`, and report where it stands: a file system may hang for good."""

    def end() -> None:
        at = f"in the check {node.under_way}" if node.under_way else "with its checks done"
        print(
            f"slipway doctor: {here.host}: answers: no end after {seconds:.0f} s, {at}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(EXIT_FAULT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def follow(here: Here, seconds: float) -> int:
    """Take the part of a rank other than rank 0: report, take part, and receive the verdict. Return the exit code."""
    from slipway.doctor.job import collectives

    place = here.place
    assert place is not None
    started = time.time()
    mine = node.of_rank(here) | {"started": started}
    mine["node"] = node.of_node(here) if here.leads_node else None
    port = exchange.port_of(here.environment, place.master_port)
    try:
        rank0 = exchange.Member(place.master_addr, port, seconds)
        try:
            begin = time.time()
            hello = rank0.ask({"rank": place.rank}, seconds)
            end = time.time()
            mine |= {"offset": (begin + end) / 2 - hello["time"], "error": (end - begin) / 2}
            if mine["node"] and hello["mark"]:
                mine["sees"] = storage.sees_mark(here.config.run.dir, *hello["mark"])
            # rank 0 waits for the others as long as this rank has waited, and somewhat longer
            decision = rank0.ask(mine, 2 * seconds + GRACE_SECONDS)
            if decision["collectives"]:
                rank0.say(collectives.run(decision["spec"], seconds, rank0.speaks))
            return rank0.hear(seconds + GRACE_SECONDS)["exit_code"]
        finally:
            rank0.close()
    except exchange.PeerLost as lost:
        report_file = exchange.write_report(here.config.run.dir, mine | {"unreachable": str(lost)})
        for finding in _faults(mine):
            print(together.line(finding), file=sys.stderr)
        print(f"slipway doctor: {here.host}: answers: rank {place.rank}: {lost}", file=sys.stderr)
        if (
            report_file
        ):  # rank 0 removes it when it has reported; if this rank ended earlier, srun might end rank 0
            exchange.wait_until_read(report_file, 3 * GRACE_SECONDS)
        return EXIT_FAULT


def _faults(mine: dict[str, Any]) -> list[Finding]:
    found = [Finding(**plain) for plain in (mine["node"] or {"findings": []})["findings"]]
    return [finding for finding in found if finding.status == "fault"]


def tell(
    here: Here,
    nodes: Sequence[str],
    found: Sequence[Finding],
    left_out: Sequence[str],
    options: argparse.Namespace,
    job: bool,
) -> int:
    """Print the findings, record the bad nodes of a job, and name the faults. Return the exit code."""
    bad = together.bad_nodes(found, nodes)
    left_out = [check.name for check in CHECKS if check.name in left_out]
    if options.json:
        print(report.to_json(here.host, nodes, found, left_out), flush=True)
    elif options.bad_nodes:
        for host in bad:
            print(host, flush=True)
    else:
        report.print_table(nodes, found, left_out)
    if job:
        with contextlib.suppress(OSError):  # run.dir itself may be at fault
            for host, reasons in bad.items():
                node = host.partition("/")[0]  # the MACHINE of MACHINE/POD, which a scheduler can avoid
                bad_nodes.add(here.config.run.dir, node, f"doctor: {'; '.join(reasons)}")
    faults = [finding for finding in report.ordered(found) if finding.status == "fault"]
    for finding, names in together.folded(faults):
        print(together.line(replace(finding, node=names)), file=sys.stderr, flush=True)
    return EXIT_FAULT if faults else EXIT_DONE
