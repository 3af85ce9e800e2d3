"""The part of rank 0: it hears all ranks, decides, takes part in the collectives, and compares the reports."""

import asyncio
import resource
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from slipway import host_lists
from slipway.doctor import node
from slipway.doctor.checks import storage
from slipway.doctor.finding import Finding
from slipway.doctor.here import Here
from slipway.doctor.job import collectives, exchange, together
from slipway.errors import EXIT_FAULT
from slipway.ranks.environment import Place

GRACE_SECONDS = 5.0
Tell = Callable[[Sequence[Finding], Sequence[str]], int]


async def lead(here: Here, with_collectives: bool, seconds: float, tell: Tell) -> int:
    """Examine the job, report, and only then let the other ranks go: srun may end all if one fails.

    Return the exit code.

    seconds: for all ranks to answer, and again for the collectives. tell: called with all findings and the names of
    the nodes; returns the exit code.
    """
    place, run_dir = here.place, here.config.run.dir
    assert place is not None
    here = _open_more_files(here)
    started = time.time()
    mark = await asyncio.to_thread(storage.write_mark, run_dir)
    hub = exchange.Lead((mark[0].name, mark[1]) if mark else None)
    found: list[Finding] = []
    code = EXIT_FAULT
    try:
        names = _names(here, place)
        await _hear(hub, here, place, seconds, started)
        port = exchange.port_of(here.environment, place.master_port)
        reports = dict(hub.reports)
        found += together.missing(reports, place.world_size, names, seconds, f"{place.master_addr}:{port}")
        for report in reports.values():
            found += [Finding(**plain) for plain in (report.get("node") or {"findings": []})["findings"]]
        found += together.compare(reports, here.config)
        of_rank = {rank: report["host"] for rank, report in sorted(reports.items())}
        nodes = list(dict.fromkeys([*of_rank.values(), *names]))
        complete = len(reports) == place.world_size and not any("unreachable" in r for r in reports.values())
        if with_collectives and complete:
            found += await _collectives(hub, here, place, of_rank, seconds)
        elif with_collectives:
            found.append(Finding("transport", "skipped", "not all ranks answered", "a sum over all ranks"))
        code = tell(found, nodes)
        return code
    finally:
        await hub.close({"exit_code": code})
        if mark:
            mark[0].unlink(missing_ok=True)
        exchange.forget_words(run_dir)


def _open_more_files(here: Here) -> Here:
    """Raise the limit of open files as far as allowed, because each rank connects here.

    Return the earlier limits in `here`.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    return replace(here, files_limit=limits)


def _names(here: Here, place: Place) -> list[str]:
    """Return the node of each rank, as Slurm says; empty if it does not."""
    environment = here.environment
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    names = host_lists.of_ranks(nodes, environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return names if len(names) == place.world_size else []


async def _hear(hub: exchange.Lead, here: Here, place: Place, seconds: float, started: float) -> None:
    """Wait until all ranks have reported, by connection or by file, or the time is over."""
    port = exchange.port_of(here.environment, place.master_port)
    try:
        await hub.listen(port)
    except OSError as error:
        raise_after = f"port {port} of {here.host}: {error.strerror}"
    else:
        raise_after = ""
    mine: dict[str, Any] = await asyncio.to_thread(lambda: node.of_rank(here) | {"node": node.of_node(here)})
    if raise_after:
        mine["unreachable"] = f"cannot listen on {raise_after}"
    hub.reports[place.rank] = mine
    limit = time.monotonic() + seconds + GRACE_SECONDS
    while len(hub.reports) < place.world_size and time.monotonic() < limit:
        await asyncio.sleep(0.05)
        for rank, report in exchange.words_left(here.config.run.dir, started - 2 * seconds - 60).items():
            hub.reports.setdefault(rank, report)


async def _collectives(
    hub: exchange.Lead, here: Here, place: Place, of_rank: dict[int, str], seconds: float
) -> list[Finding]:
    parts = collectives.parts(of_rank)
    listener = _store_socket()
    common = {
        "backend": collectives.backend(here.config),
        "address": place.master_addr,
        "port": listener.getsockname()[1],
        "seconds": seconds,
    }
    hub.decide(lambda rank: {"collectives": True, "spec": parts[rank] | common})
    over = time.monotonic() + seconds + GRACE_SECONDS
    stop: list[float] = []

    def enough() -> bool:
        return bool(stop) and time.monotonic() > stop[0]

    own = asyncio.create_task(
        asyncio.to_thread(_probe, parts[place.rank] | common, seconds, enough, listener.fileno())
    )
    while time.monotonic() < over:
        if own.done():
            hub.results[place.rank] = own.result()
        if len(hub.results) == place.world_size or enough():
            break
        if not stop and any("error" in result for result in hub.results.values()):
            stop.append(time.monotonic() + GRACE_SECONDS)  # the others wait for a rank that has gone
        await asyncio.sleep(0.05)
    hub.results[place.rank] = await own
    listener.close()
    return collectives.judge(hub.results, of_rank, here.config)


def _store_socket() -> socket.socket:
    """Return a socket on a free port, on IPv4 and IPv6, for the store of the collectives."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=4096)


def _probe(spec: dict[str, Any], seconds: float, stop: Callable[[], bool], listen_fd: int) -> dict[str, Any]:
    return collectives.run(spec, seconds, stop, listen_fd)
