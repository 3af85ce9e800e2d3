"""The checks that one process does for its node, and what it reports about itself for comparison with others."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slipway.doctor.checks import binds, cores, devices, hygiene, network, slurm, storage, versions
from slipway.doctor.finding import Finding
from slipway.doctor.here import Here, cores_online

# in the order of finding.CHECKS
NODE_CHECKS: dict[str, Callable[[Here], Finding]] = {
    "driver": versions.driver,
    "image": versions.image,
    "user-site": hygiene.user_site,
    "environment": hygiene.environment,
    "binds": binds.binds,
    "caches": storage.caches,
    "run-dir": storage.run_dir,
    "space": storage.space,
    "data": storage.data,
    "shm": storage.shm,
    "devices": devices.devices,
    "memlock": cores.memlock,
    "open-files": cores.open_files,
    "interfaces": network.interfaces,
    "settings": network.settings,
    "rdma": network.rdma,
    "master-address": network.master_address,
    "file-clock": storage.file_clock,
    "time-left": slurm.time_left,
    "cpus-per-task": slurm.cpus_per_task,
}

under_way = ""
"""The check that is running, named if it never ends: a file system may hang."""


def examine(here: Here) -> list[Finding]:
    """Run all checks of this node and return their findings.

    A check that itself fails is a warning, and ends no other.
    """
    global under_way
    found = []
    for name, check in NODE_CHECKS.items():
        under_way = name
        try:
            finding = check(here)
        except Exception as error:  # a check that fails is reported, too
            why = f"the check itself failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            finding = Finding(name, "warning", why, "an answer", "report this as a fault of Slipway")
        found.append(replace(finding, node=here.host))
    under_way = ""
    return found


def of_node(here: Here) -> dict[str, Any]:
    """Return this node's findings, and its facts that are compared between nodes."""
    return {
        "findings": [finding.plain() for finding in examine(here)],
        "versions": versions.facts(here),
        "data": storage.data_digest(here),
        "online": cores_online(here),
    }


def of_rank(here: Here) -> dict[str, Any]:
    """Return this rank's facts that are compared between ranks."""
    assert here.place is not None
    return {
        "rank": here.place.rank,
        "local_rank": here.place.local_rank,
        "host": here.host,
        "cores": sorted(os.sched_getaffinity(0)),
        "visible": devices.visible(here.environment),
        "openable": devices.openable(here),
    }
