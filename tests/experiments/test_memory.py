"""What a process gives back is there for what comes next, without the system."""

import ctypes
import os
import subprocess
import sys

import pytest

# In a thread, as XLA has its programs run; blocks too large for the heap of one.
PROGRAM = """
import resource, threading
from experiments.framework.memory import keep_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def allocate():
    for _ in range(5):
        before = faults()
        block = b"x" * 2**27
        del block
    print(faults() - before)

assert not keep_memory("gpu")
print(keep_memory())
thread = threading.Thread(target=allocate)
thread.start()
thread.join()
"""
LARGE_PAGES = 2**27 // 2**21  # where the system gives those; else there are more


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)
def test_memory_is_kept_unless_the_user_says_how():
    kept, faults = _run()
    assert kept == "True" and int(faults) < LARGE_PAGES / 2
    assert _run(GLIBC_TUNABLES="glibc.pthread.rseq=1")[0] == "True"
    for other in ({"GLIBC_TUNABLES": ""}, {"GLIBC_TUNABLES": "glibc.malloc.check=0"}, {"MALLOC_ARENA_MAX": "4"}):
        kept, faults = _run(**other)
        assert kept == "False" and int(faults) >= LARGE_PAGES


def _run(**options: str) -> list[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_TUNABLES", "MALLOC_"))}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=own | options, text=True, capture_output=True, check=True).stdout.split()
