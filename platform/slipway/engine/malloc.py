"""Memory that a step frees is kept for the next one. Imports no torch."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Let glibc's malloc give nothing back to the system, in this process and those forked from it.

    Otherwise what a step's activations took goes back after each backward pass, and the next step waits for every page
    of it to be cleared again. Does nothing where the user has set malloc, or where it is not glibc's.
    """
    if os.environ.keys() & set(_SET_BY_USER):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)  # what it maps for one tensor is given back with the tensor
