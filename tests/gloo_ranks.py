"""Small checks on several gloo ranks: all of a table in one start of the ranks."""

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

# what each rank calls: function(rank, size, *words)
Cases = Mapping[str, tuple[Callable, tuple]]


def run_cases(cases: Cases, size: int, store: Path, timeout: float = 120) -> dict[str, str]:
    """Run every case on `size` new processes, forked from one that has imported torch.

    Returns what went wrong on any of them, by case. store: a file that does not exist yet.
    """
    context = multiprocessing.get_context("forkserver")
    modules = ["torch", "slipway.kernels.linear", "slipway.kernels.cross_entropy"]
    context.set_forkserver_preload(modules)
    ours, theirs = context.Pipe(duplex=False)
    ranks = [context.Process(target=_rank, args=(i, size, str(store), theirs, cases)) for i in range(size)]
    for process in ranks:
        process.start()
    try:
        found: dict[str, str] = {}
        for _ in ranks:
            assert ours.poll(timeout), "the ranks hang"
            found |= ours.recv()
        return found
    finally:
        for process in ranks:
            process.join(10)
            process.kill()


def _rank(rank: int, size: int, store: str, pipe: Connection, cases: Cases) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    failures = {}
    for name, (case, words) in cases.items():
        try:
            case(rank, size, *words)
        except Exception as problem:  # each case gets its own verdict
            failures[name] = f"rank {rank}: {type(problem).__name__}: {problem}"
    pipe.send(failures)
    dist.destroy_process_group()
