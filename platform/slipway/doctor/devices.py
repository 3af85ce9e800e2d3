"""GPUs of a node, and which rank takes which; read from /proc, /sys and /dev."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.doctor.finding import Finding, judged, skipped
from slipway.doctor.here import IN_JOB, Here

VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def present(here: Here) -> list[str]:
    """The node's GPUs as device files: NVIDIA's /dev/nvidiaN, else AMD's render nodes that compute."""
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
    """The GPUs that a process may use, as its variables name them; None where none is set: all."""
    for name in VISIBLE:
        if name in environment:
            return [word for word in environment[name].split(",") if word not in ("", "-1", "NoDevFiles")]
    return None


def devices(here: Here) -> Finding:
    """GPUs of this node against resources.devices_per_node."""
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
    """GPUs that the driver knows, where it knows fewer than there are device files: one fell off the bus."""
    known = here.path("/proc/driver/nvidia/gpus")
    if not known.is_dir():
        return None
    count = len(list(known.iterdir()))
    return count if count < files else None


def binding(ranks: Sequence[Mapping[str, Any]], node: str) -> Finding:
    """Of all ranks of one node (facts.of_rank): the trainer takes device LOCAL_RANK of those it sees."""
    advice = (
        "start one task per GPU with all of the node's GPUs visible to each (--gres, not --gpus-per-task), and unset "
        f"{' and '.join(VISIBLE[:2])}"
    )
    expected = "device LOCAL_RANK of those that a rank sees, another one for each rank"
    taken: dict[str, list[int]] = {}
    wrong = []
    for rank in ranks:
        seen, local = rank["visible"], rank["local_rank"]
        if seen is not None and local >= len(seen):
            wrong.append(
                f"rank {rank['rank']} sees {','.join(seen) or 'none'}, and wants number {local} of them"
            )
            continue
        taken.setdefault(seen[local] if seen is not None else str(local), []).append(rank["rank"])
    shared = [f"ranks {' and '.join(map(str, r))} take device {d}" for d, r in taken.items() if len(r) > 1]
    saw = "; ".join([*wrong, *shared]) or f"{len(ranks)} ranks on devices {', '.join(taken)}"
    return judged(not wrong and not shared, "device-binding", saw, expected, advice, node=node)
