"""Freed memory stays with the process: its pages are not cleared again."""

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import ctypes, resource, sys
from slipway.engine.malloc import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def take():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
take()
print(take())
"""


def faults(environment: dict[str, str]) -> int:
    """Pages that had to be brought in for 64 MiB, which were taken and freed once before."""
    path = str(Path(__file__).parents[2] / "platform")
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={"PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(__import__("ctypes").CDLL(None), "mallopt"), reason="malloc is not glibc's")
def test_pages_stay_unless_the_user_has_set_malloc() -> None:
    assert faults({}) < 100
    assert faults({"MALLOC_MMAP_THRESHOLD_": "131072"}) > 10_000
