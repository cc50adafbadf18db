"""What a process gives back is there for what comes next, without the system."""

import ctypes
import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from experiments.framework.memory import keep_memory
print(keep_memory())
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_is_kept_unless_the_user_says_how():
    large_pages = 2**26 // 2**21  # where the system gives those
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    kept, faults = _run(env)
    assert kept == "True" and int(faults) < large_pages / 2
    left_alone, faults = _run(env | {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"})
    assert left_alone == "False" and int(faults) >= large_pages


def _run(env: dict[str, str]) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, text=True, capture_output=True, check=True
    ).stdout.split()
