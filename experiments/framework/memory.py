"""Memory that the steps of a training on a CPU give back is kept for the next ones.

glibc returns large blocks to the system, and gets them back page by page: a training step whose arrays have 100 MB then
spends up to half of its time in page faults.
"""

import ctypes
import os

__all__ = ["keep_memory"]

# glibc's malloc.h: one heap for all threads, no block beside it, nothing of it given back.
_OPTIONS = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1)}


def keep_memory() -> bool:
    """Let the process keep what memory it has once had; return whether its C library can.

    To be called before JAX starts its threads. Whoever sets the environment variable `GLIBC_TUNABLES` decides.
    """
    if "GLIBC_TUNABLES" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return min(mallopt(option, value) for option, value in _OPTIONS.values()) == 1
