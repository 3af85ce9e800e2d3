"""Keep memory that a step frees for the next one. Imports no torch."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # from glibc's malloc.h
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Stop glibc's malloc from returning memory to the system, in this process and those forked from it.

    Otherwise the memory of a step's activations is returned after each backward pass, and the next step waits until
    every page of it is cleared again. Does nothing if the user has configured malloc, or if it is not glibc's.
    """
    if os.environ.keys() & set(_SET_BY_USER):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)  # memory that it maps for one tensor is returned with the tensor
