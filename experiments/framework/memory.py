"""The memory that a program on a CPU gives back is kept for its next call.

glibc returns large blocks to the system, and gets them back page by page; XLA asks anew at every call for the memory
that a step needs in between.
"""

import ctypes
import os
import shutil

__all__ = ["keep_memory", "memory_is_said"]

# Of glibc's malloc.h: one heap for all threads (others hold 64 MB at most, and are given back whole), no block beside
# it, and nothing of it given back.
_OPTIONS = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1)}


def keep_memory(device: str = "cpu") -> bool:
    """Let the process keep what memory it has once had; return whether the C library took the options.

    To be called before threads are started: of those that have allocated glibc may keep the heaps. Whoever sets an
    option of malloc (in `GLIBC_TUNABLES`, or a variable `MALLOC_...`) decides; an empty `GLIBC_TUNABLES` leaves memory
    as glibc has it.

    Args:
        device: on which it will compute, as `--device` says; beside a GPU there is nothing to gain.
    """
    elsewhere = device not in ("cpu", "auto") or (device == "auto" and shutil.which("nvidia-smi"))
    if elsewhere or memory_is_said():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return min(mallopt(option, value) for option, value in _OPTIONS.values()) == 1


def memory_is_said() -> str | None:
    """Return in words what the user said of how memory is to be kept, None where it is nothing."""
    tunables = os.environ.get("GLIBC_TUNABLES")
    others = sorted(name for name in os.environ if name.startswith("MALLOC_"))
    if others or "glibc.malloc." in (tunables or ""):
        return f"as the user said ({', '.join(others or [str(tunables)])})"
    return "as the system has it" if tunables == "" else None
