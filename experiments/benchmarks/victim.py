"""The training that `torture` kills: a process of its own, with a trap at one place."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcnn import data, fingerprint
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, Flatten, Sequential
from jaxcnn.training import checkpoint, files, fit, read_metrics, sgd

STEPS, PER_EPOCH, BATCH = 40, 8, 6
SAVE_EVERY = 2
NET = Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu, flatten=Flatten(), drop=Dropout(0.5), head=Dense(3))
# Where a trap may lie: phase -> what is called there.
PHASES: dict[str, tuple[Any, str]] = {
    "clean-up before a save": (checkpoint, "_prepare"),
    "device copy and write": (checkpoint, "_write"),
    "hashes and record": (checkpoint, "_finish"),
    "rename": (os, "replace"),
    "clean-up after a save": (shutil, "rmtree"),
    "line of figures": (files.RunFiles, "add_epoch"),
}
ANYWHERE = "anywhere"
LONGEST = 0.15  # seconds between the begin of a call and the kill: about what a save takes


def train(folder: str, report: str, cache: str, trap: dict[str, Any] | None) -> None:
    """Train, or go on with training, in `folder`, and write what came out of it to the file `report`.

    Args:
        folder: of the run.
        report: a file; `report` + ".log" gets a line for each step.
        cache: a folder for compiled programs.
        trap: {"phase": ..., "call": which call of it, from 1, "delay": seconds after its begin, or None for its end}.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_disable_most_optimizations", True)
    if trap is not None:
        arm(**trap)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (PER_EPOCH * BATCH + 10, 6, 6, 1), np.uint8)
    whole = data.from_arrays(image, np.arange(len(image)) % 3)
    log = os.open(f"{report}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: Any) -> None:
        if event.kind == "step":
            os.write(log, f"{event.step}\n".encode())

    result = fit(
        NET,
        whole.take(range(PER_EPOCH * BATCH + 3)),  # a ragged tail of 3
        validation=whole.take(range(len(image) - 7, len(image))),
        optimizer=sgd(lambda count: 0.1 / (1 + count)),
        epochs=STEPS // PER_EPOCH,
        batch_size=BATCH,
        key=jax.random.key(1),
        run_dir=folder,
        resume=True,
        save_every=SAVE_EVERY,
        callbacks=[note],
    )
    lines = [{n: v for n, v in line.items() if "second" not in n} for line in read_metrics(folder)]
    Path(report).write_text(json.dumps({"state": fingerprint(result.state), "best": result.best_epoch, "lines": lines}))


def arm(phase: str, call: int, delay: float | None) -> None:
    """Have this process killed at the `call`-th call of a phase."""
    if phase == ANYWHERE:
        threading.Thread(target=lambda: (time.sleep(delay or 0.0), kill()), daemon=True).start()
        return
    owner, name = PHASES[phase]
    setattr(owner, name, trapped(getattr(owner, name), call, delay))


def trapped(fn: Callable, call: int, delay: float | None) -> Callable:
    left = [call]

    def trap(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and delay == 0.0:
            kill()
        if left[0] == 0 and delay is not None:
            threading.Timer(delay, kill).start()
        result = fn(*args, **options)
        if left[0] == 0 and delay is None:
            kill()
        return result

    return trap


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
