"""The training that `reproducibility` repeats, in processes of their own."""

import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.repeated import Outcome, step_seconds, trained

SECONDS = 1800  # that a training may take


def elsewhere(
    seed: int, *, processes: int = 1, environment: Mapping[str, str] | None = None, **options: Any
) -> Outcome:
    """Return what `trained` returns in other processes.

    Args:
        seed: of all randomness.
        processes: how many train together.
        environment: variables of theirs.
        options: for `trained`; `cores`, how many they may use; `timed`, whether to ask for `step_seconds`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Programs are compiled anew, and another process may have most of the GPU's memory.
    own = {"JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **(environment or {})}
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "outcome.npz"
        command = [
            sys.executable,
            "-c",
            "import sys; from experiments.benchmarks import elsewhere; elsewhere.main(*sys.argv[1:])",
            str(result),
            json.dumps({"seed": seed, **options}),
        ]
        started = [
            subprocess.Popen(
                command + ([address, str(processes), str(number)] if processes > 1 else []),
                env=os.environ | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(processes)
        ]
        try:
            said = [process.communicate(timeout=SECONDS)[0] for process in started]
        finally:  # nothing outlives an interruption, or a process that waits for one that is gone
            for process in started:
                process.kill()
        failed = [text for process, text in zip(started, said, strict=True) if process.returncode]
        if failed:
            raise OSError(f"elsewhere: expected processes that train, got one that failed: {failed[0][-2000:]}")
        with np.load(result) as found:
            arrays = dict(found)
    seconds = arrays.pop("step_seconds", None)
    return Outcome(arrays, arrays.pop("losses"), None if seconds is None else float(seconds))


def main(result: str, options: str, *together: str) -> None:
    """Train as `elsewhere` asks and write the outcome to the file `result`."""
    if together:
        jax.distributed.initialize(together[0], int(together[1]), int(together[2]))
    chosen = json.loads(options)
    cores = chosen.pop("cores", None)
    if cores is not None:
        os.sched_setaffinity(0, set(itertools.islice(sorted(os.sched_getaffinity(0)), cores)))
    timed = chosen.pop("timed", False)
    outcome = trained(**chosen)
    found: dict[str, Any] = {**outcome.arrays, "losses": outcome.losses}
    if timed:
        found["step_seconds"] = np.float64(step_seconds())
    if jax.process_index() == 0:
        np.savez(result, **found)
