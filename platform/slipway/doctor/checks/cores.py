"""The checks of each rank's CPU cores and of a process's limits."""

import resource
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.config.schema import RunConfig
from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here
from slipway.host_lists import ranges

OPEN_FILES = 4096
RDMA = ("infiniband", "roce", "efa", "slingshot")
UNLIMITED = resource.RLIM_INFINITY
MEMLOCK_ENOUGH = 2**36  # 64 GiB: as good as no limit


def memlock(here: Here, limit: int | None = None) -> Finding:
    """Return whether RDMA may lock memory: the soft RLIMIT_MEMLOCK. limit: in bytes; None: this process's."""
    fabric = here.config.cluster.network.fabric
    if not here.on_node:
        return skipped("memlock", IN_JOB)
    if fabric not in RDMA:
        return skipped("memlock", f"the profile's fabric is {fabric or 'not known'}")
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if limit is None else limit
    saw = "unlimited" if limit == UNLIMITED else f"{limit // 1024} KiB"
    advice = (
        "ulimit -l unlimited; Slurm: PropagateResourceLimitsExcept=MEMLOCK; pods: LimitMEMLOCK=infinity of the node's "
        "container runtime (the capability IPC_LOCK has no effect on a user who is not root)"
    )
    return judged(limit == UNLIMITED or limit >= MEMLOCK_ENOUGH, "memlock", saw, "unlimited", advice)


def open_files(here: Here) -> Finding:
    """Return whether enough files may be open (RLIMIT_NOFILE): rank 0's store holds a connection from every rank."""
    if not here.on_node:
        return skipped("open-files", IN_JOB)
    soft, hard = here.files_limit or resource.getrlimit(resource.RLIMIT_NOFILE)
    world = here.place.world_size if here.place else 1
    wanted = max(OPEN_FILES, 2 * world)
    saw = "unlimited" if soft == UNLIMITED else f"{soft} (hard {'unlimited' if hard == UNLIMITED else hard})"
    advice = f"ulimit -n {wanted} in the job's script, or the site's limits"
    status = "fault" if soft != UNLIMITED and soft < world + 256 else "warning"
    return judged(soft == UNLIMITED or soft >= wanted, "open-files", saw, f"{wanted}", advice, status)


def binding(ranks: Sequence[Mapping[str, Any]], online: int, config: RunConfig, node: str) -> Finding:
    """Return whether all ranks of one node have the cores (sched_getaffinity) that the profile gives them.

    online: the node's logical CPUs.
    """
    shape, kind = config.cluster.node, config.cluster.device.kind
    sets = {rank["rank"]: frozenset(rank["cores"]) for rank in ranks}
    union = frozenset().union(*sets.values())
    each = shape.cores_per_device or 1
    expected = f"{each} or more cores for each of {len(sets)} ranks, no two ranks on the same"
    advice = (
        "srun --cpus-per-task and --cpu-bind=cores (or the profile's cpu_masks), and export SRUN_CPUS_PER_TASK; a pod "
        "needs as many CPUs in its resources"
    )
    saw = _said(sets)
    slurm = config.cluster.slurm
    whole = slurm is None or slurm.exclusive  # on shared nodes no masks are asked for (launch/share.py)
    masks = [int(mask, 16) for mask in shape.cpu_masks[: len(ranks)]] if whole else []
    if masks and len(masks) == len(ranks):
        wrong = [r["rank"] for r in ranks if sum(1 << core for core in r["cores"]) != masks[r["local_rank"]]]
        if wrong:
            wanted = ", ".join(shape.cpu_masks)
            saw = f"{saw}; ranks {ranges(wrong)} have other cores than their mask"
            return Finding("cpu-binding", "fault", saw, f"masks {wanted}", advice, node)
    narrow = [rank for rank, cores in sets.items() if len(cores) < each]
    if narrow or len(union) < each * len(sets):
        whole = len(union) >= online and shape.cores_per_device is None and not narrow
        saw += f"; {len(union)} cores in all for {len(sets)} ranks, of {online} that the node has"
        return Finding("cpu-binding", "warning" if whole else "fault", saw, expected, advice, node)
    overlap = len(union) < sum(len(cores) for cores in sets.values())
    if overlap and kind != "cpu":
        return Finding("cpu-binding", "warning", f"{saw}: not bound", expected, advice, node)
    return Finding("cpu-binding", "ok", saw, expected, node=node)


def _said(sets: Mapping[int, frozenset[int]]) -> str:
    """Return the ranks and their cores in words: `rank 0 on cores 0-11, rank 1 on cores 12-23`."""
    by_cores: dict[frozenset[int], list[int]] = {}
    for rank, cores in sets.items():
        by_cores.setdefault(cores, []).append(rank)
    words = []
    for cores, ranks in by_cores.items():
        who = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranges(ranks)} share"
        words.append(f"{who} {'on ' if len(ranks) == 1 else ''}cores {ranges(cores)}")
    return ", ".join(words)
