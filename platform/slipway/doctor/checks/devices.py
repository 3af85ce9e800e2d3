"""The checks of a node's GPUs, and which rank takes which; read from /proc, /sys and /dev."""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here
from slipway.host_lists import ranges
from slipway.ranks import device

VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def present(here: Here) -> list[str]:
    """Return the node's GPUs: NVIDIA's as device files /dev/nvidiaN, else AMD's nodes of the kfd that compute."""
    files = here.path("/dev")
    nvidia = sorted(
        (path.name for path in files.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)),
        key=lambda name: int(name[6:]),
    )
    if nvidia:
        return [f"/dev/{name}" for name in nvidia]
    nodes = here.path("/sys/class/kfd/kfd/topology/nodes")
    amd = [path.parent.name for path in sorted(nodes.glob("*/gpu_id")) if _is_gpu(path.read_text())]
    return [f"kfd node {name}" for name in amd]


def _is_gpu(text: str) -> bool:
    return text.strip() not in ("", "0")


def visible(environment: Mapping[str, str]) -> list[str] | None:
    """Return the GPUs that a process may use, as its variables name them; None if none is set, which means all."""
    for name in VISIBLE:
        if name in environment:
            return [word for word in environment[name].split(",") if word not in ("", "-1", "NoDevFiles")]
    return None


def devices(here: Here) -> Finding:
    """Return whether the node has as many GPUs as resources.devices_per_node."""
    config = here.config
    if config.cluster.device.kind == "cpu":
        return skipped("devices", "the profile's devices are CPUs")
    found = present(here)
    if not found and not here.on_node:
        return skipped("devices", IN_JOB)
    wanted = config.resources.devices_per_node
    dead = _dead(here, len(found))
    saw = f"{len(found)}: {', '.join(found)}" if found else "none"
    saw += f"; {dead} in /proc/driver/nvidia/gpus" if dead is not None else ""
    advice = "ask for GPUs (--gres, a pod's resources) and give the container --nv or --rocm; else the node is broken"
    good = len(found) >= wanted and dead is None
    return judged(good, "devices", saw, f"{wanted} (resources.devices_per_node)", advice)


def _dead(here: Here, files: int) -> int | None:
    """Return the number of GPUs that the driver knows if there are more device files: one has fallen off the bus.

    Else None.
    """
    known = here.path("/proc/driver/nvidia/gpus")
    if not known.is_dir():
        return None
    count = len(list(known.iterdir()))
    return count if count < files else None


def openable(here: Here) -> list[str] | None:
    """Return the node's NVIDIA GPUs that this process may open: the cgroup of a job or task refuses others.

    None: no NVIDIA.
    """
    files = [name for name in present(here) if name.startswith("/dev/")]
    found = []
    for name in files:
        with contextlib.suppress(OSError):
            os.close(os.open(here.path(name), os.O_RDWR | os.O_CLOEXEC))
            found.append(name)
    return found if files else None


def binding(ranks: Sequence[Mapping[str, Any]], node: str) -> Finding:
    """Return whether each rank of one node gets a GPU of its own, by the rule that the trainer uses.

    ranks: see node.of_rank.
    """
    advice = (
        "start one task per GPU with all of the node's GPUs visible to each (--gres and --gpu-bind=none, not "
        f"--gpus-per-task; cluster.slurm.show_all_devices), and unset {' and '.join(VISIBLE[:2])}"
    )
    expected = "every rank sees all of its node's GPUs, and takes another one"
    taken: dict[str, list[int]] = {}
    wrong = []
    for rank in ranks:
        name = _taken(rank)
        if name is None:
            wrong.append(
                f"rank {rank['rank']} sees no GPU (visible: {','.join(rank['visible'] or []) or 'none'})"
            )
        else:
            taken.setdefault(name, []).append(rank["rank"])
    shared = [f"ranks {' and '.join(map(str, r))} take device {d}" for d, r in taken.items() if len(r) > 1]
    few = [rank["rank"] for rank in ranks if (seen := _count(rank)) is not None and seen < len(ranks)]
    saw = "; ".join([*wrong, *shared]) or f"{len(ranks)} ranks on devices {', '.join(taken)}"
    if wrong or shared:
        return Finding("device-binding", "fault", saw, expected, advice, node)
    if few:
        saw += f"; ranks {ranges(few)} see fewer than the node's ranks: NCCL may lack peer-to-peer access"
        return Finding("device-binding", "warning", saw, expected, advice, node)
    return Finding("device-binding", "ok", saw, expected, node=node)


def _count(rank: Mapping[str, Any]) -> int | None:
    """Return how many GPUs a rank sees; None if nothing tells."""
    return next((len(names) for names in (rank["visible"], rank["openable"]) if names is not None), None)


def _taken(rank: Mapping[str, Any]) -> str | None:
    """Return the name of a rank's GPU; None if it has none. CUDA counts those that the rank may open, from 0."""
    seen, files, count = rank["visible"], rank["openable"], _count(rank)
    if count == 0:
        return None
    index = rank["local_rank"] if count is None else device.number(rank["local_rank"], count)
    name = seen[index] if seen is not None else str(index)
    if files is None or not name.isdecimal():
        return name
    return files[int(name)] if int(name) < len(files) else None
