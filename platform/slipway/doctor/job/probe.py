"""Collectives in a process of their own, which may hang or crash. The only part of the doctor that imports torch.

Usage: python -m slipway.doctor.job.probe SPEC, a JSON object: the rank's part of collectives.parts, and what all
ranks share (lead.py). Prints one JSON object.
"""

import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

REPEATS = 5
BYTES = {"nccl": 256 * 2**20, "gloo": 4 * 2**20}


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Join the groups, measure, and look at the ways that collectives take. Return what was found.

    Seconds are the best of REPEATS; bytes are those of the whole tensor.
    """
    backend = spec["backend"]
    log = Path(tempfile.mkdtemp(prefix="slipway-doctor-")) / "nccl.log"
    if backend == "nccl":
        os.environ |= {
            "NCCL_DEBUG": "INFO",
            "NCCL_DEBUG_SUBSYS": "INIT,NET,ENV",
            "NCCL_DEBUG_FILE": str(log),
        }
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if spec["address"] in ("127.0.0.1", "localhost"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # as the trainer does
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    device = torch.device("cpu")
    if backend == "nccl":
        from slipway.ranks.device import number
        from slipway.ranks.environment import started_rank

        place = started_rank(os.environ)  # the trainer's device, not the place among those that answered
        local_rank = place.local_rank if place else spec["local_rank"]
        device = torch.device("cuda", number(local_rank, torch.cuda.device_count()))
        torch.cuda.set_device(device)
    limit = timedelta(seconds=spec["seconds"])
    store = distributed.TCPStore(
        spec["address"],
        spec["port"],
        spec["world_size"],
        is_master=spec["rank"] == 0,
        timeout=limit,
        wait_for_workers=False,
        master_listen_fd=spec.get("listen_fd"),
    )
    found: dict[str, Any] = {"backend": backend, "bytes": BYTES[backend], "log": None, "connections": []}
    payload = torch.ones(BYTES[backend] // 4, device=device)

    def joined(name: str, rank: int, size: int) -> None:
        inner = distributed.PrefixStore(name, store)
        distributed.init_process_group(backend, store=inner, rank=rank, world_size=size, timeout=limit)

    def best(work) -> float:  # noqa: ANN001
        seconds = []
        for _ in range(REPEATS):
            distributed.barrier()
            begin = time.perf_counter()
            work()
            if backend == "nccl":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
        return min(seconds[1:])  # the first one also connects

    if spec["local_size"] > 1:
        joined(f"node{spec['node']}", spec["local_rank"], spec["local_size"])
        found["node_all_reduce"] = best(lambda: distributed.all_reduce(payload))
        distributed.destroy_process_group()
    joined("world", spec["rank"], spec["world_size"])
    if spec["world_size"] > spec["local_size"]:
        found["all_reduce"] = best(lambda: distributed.all_reduce(payload))
        if backend == "gloo":
            found["connections"] = connections(spec["port"])
        links: list[float] = []
        for peer in spec["peers"]:
            theirs = torch.empty_like(payload)

            def swap(peer: int | None = peer, theirs: torch.Tensor = theirs) -> None:
                if peer is None:
                    return
                both = [
                    distributed.P2POp(distributed.isend, payload, peer),
                    distributed.P2POp(distributed.irecv, theirs, peer),
                ]
                for work in distributed.batch_isend_irecv(both):
                    work.wait()

            seconds = best(swap)
            if peer is not None:
                links.append(seconds)
        found["links"] = links
    distributed.barrier()
    distributed.destroy_process_group()
    if backend == "nccl":
        from slipway.doctor.job.transport import in_log

        found["log"] = in_log(log.read_text(errors="replace") if log.exists() else "")
    return found


def connections(store_port: int) -> list[tuple[str, str]]:
    """Return (interface, own address) of this process's connections, except those to the store."""
    import psutil

    names = {entry.address: name for name, entries in psutil.net_if_addrs().items() for entry in entries}
    found = set()
    for one in psutil.Process().net_connections("tcp"):
        if one.status != psutil.CONN_ESTABLISHED or store_port in (one.laddr.port, one.raddr.port):
            continue
        address = one.laddr.ip.removeprefix("::ffff:")
        found.add((names.get(address, ""), address))
    return sorted(found)


if __name__ == "__main__":
    result = main(json.loads(sys.argv[1]))
    print(json.dumps(result), flush=True)
    os._exit(0)  # a library's threads may not end
