"""Processes that prepare data in parallel."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Literal, TypeVar

Label = TypeVar("Label")
Result = TypeVar("Result")


@contextmanager
def worker_pool(
    processes: int, environment: Mapping[str, str], method: Literal["fork", "spawn"] = "fork"
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes that end with this one, however it ends.

    environment: variables that they set for themselves. method: fork needs no importable main module, and its workers
    share what is loaded; enter it before anything heavy is imported. spawn is for libraries that do not survive in a
    copy of a process that has used them, as GDAL with threads. Raises RuntimeError if a worker is killed.
    """
    context, start = multiprocessing.get_context(method), (os.getpid(), environment)
    pool = ProcessPoolExecutor(processes, context, _begin, start)
    try:
        pool.submit(os.getpid).result()
        yield pool
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker was ended from outside (out of memory?); blocks that are done are kept: run it again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(submitted: Iterable[tuple[Label, Future[Result]]], ahead: int) -> Iterator[tuple[Label, Result]]:
    """Yield each label and result in the order of submission, so that the first of several errors is reported.

    submitted: tasks, each submitted when it is taken from here; at most `ahead` of them wait at a time.
    """
    waiting: deque[tuple[Label, Future[Result]]] = deque()
    for label, future in submitted:
        waiting.append((label, future))
        if len(waiting) > ahead:
            label, future = waiting.popleft()
            yield label, future.result()
    for label, future in waiting:
        yield label, future.result()


def done(result: Result) -> Future[Result]:
    """Return a task that is done and has this result."""
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def _begin(parent: int, environment: Mapping[str, str]) -> None:
    import ctypes

    # A parent that is killed cannot end its workers, which would wait forever.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    os.environ.update(environment)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
