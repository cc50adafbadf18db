"""Programs measured against each other: ours, theirs, ours, theirs, ... in one process."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.nets import CLASSES, NETS, Training

LONG = 20.0  # seconds: a call above it is measured once, without a warm-up
FEWEST = 3  # pairs, of shorter calls
MB = 1e6


@dataclass
class Program:
    """What is measured: `call` starts one call, `wait` waits for all that was started."""

    call: Callable[[], Any]
    wait: Callable[[], Any]
    megabytes: float | None = None  # that XLA says it needs beside its arguments

    def seconds(self, calls: int = 1) -> float:
        """Return the seconds of one call, measured over several in a row."""
        began = time.perf_counter()
        for _ in range(calls):
            self.call()
        self.wait()
        return (time.perf_counter() - began) / calls


@dataclass
class Pairs:
    """Seconds of both programs, pair by pair."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        """Enter a pair."""
        self.ours.append(ours)
        self.theirs.append(theirs)

    def figures(self) -> dict[str, Any]:
        """Return the median and the quartiles of theirs / ours (above 1: ours is faster), and both medians."""
        ratios = np.divide(self.theirs, self.ours)
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
        return {
            "ratio": middle,
            "low": low,
            "high": high,
            "pairs": len(ratios),
            "ours_ms": 1e3 * statistics.median(self.ours),
            "theirs_ms": 1e3 * statistics.median(self.theirs),
        }


def compare(ours: Program, theirs: Program, seconds: float, turn: float) -> Pairs:
    """Measure both in turn for as long as `seconds`, at least three pairs; a pair that takes very long once.

    Who begins alternates too: what one leaves in the caches is to meet both alike.

    Args:
        ours, theirs: the programs, compiled.
        seconds: for all pairs.
        turn: seconds for which a program runs before the other does, if one call takes less.
    """
    ours.seconds()  # warm up
    if (once_theirs := theirs.seconds()) > LONG:
        return Pairs([ours.seconds()], [once_theirs])
    once_ours, once_theirs = ours.seconds(), theirs.seconds()
    calls = [max(1, round(turn / once)) for once in (once_ours, once_theirs)]
    pairs = Pairs()
    began = time.perf_counter()
    while True:
        turns = [(ours, calls[0]), (theirs, calls[1])]
        backwards = len(pairs.ours) % 2 == 1
        times = [program.seconds(count) for program, count in (turns[::-1] if backwards else turns)]
        pairs.add(*(times[::-1] if backwards else times))
        done, passed = len(pairs.ours), time.perf_counter() - began
        if done >= FEWEST and passed * (done + 1) / done > seconds:
            return pairs


def jax_program(training: Training, mode: str, batches: Mapping[str, np.ndarray], lanes: int, seed: int) -> Program:
    """Return a compiled program of a JAX library.

    Args:
        training: the net in that library.
        mode: "step", one training step; "scan", a step for each of the batches in one program; "vmap", one step of
            several nets on the same batch; "inference".
        batches: "image" (steps, N, H, W, C) and "label" (steps, N).
        lanes: nets of "vmap".
        seed: of the nets.
    """
    if training.channels_first:
        batches = dict(batches, image=np.ascontiguousarray(np.moveaxis(batches["image"], -1, -3)))
    data = jax.device_put(dict(batches) if mode == "scan" else {name: array[0] for name, array in batches.items()})
    keys = jax.random.split(jax.random.key(seed), lanes)
    state = training.init(keys[0])
    if mode == "vmap":
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, *map(training.init, keys[1:]))
    if mode == "inference":
        traced, data = jax.jit(training.forward), data["image"]
    else:
        traced = jax.jit(_TRAINING[mode](training.step), donate_argnums=0)
    run = traced.lower(state, data).compile()  # now, so that no call that is measured compiles
    memory = run.memory_analysis()
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes if memory else None
    latest: list[Any] = [state, None]

    def call():
        if mode == "inference":
            latest[1] = run(state, data)
        else:
            latest[:] = run(latest[0], data)

    return Program(call, lambda: jax.block_until_ready(latest), None if needed is None else needed / MB)


_TRAINING: dict[str, Callable[[Any], Any]] = {
    "step": lambda step: step,
    "scan": lambda step: lambda state, batches: jax.lax.scan(step, state, batches),
    "vmap": lambda step: jax.vmap(step, in_axes=(0, None)),
}


def eager_program(eager: Any, mode: str, batches: Mapping[str, np.ndarray]) -> Program:
    """Return a program of PyTorch: a step or inference."""
    image, label = eager.tensors({name: array[0] for name, array in batches.items()})
    if mode == "inference":
        return Program(lambda: eager.forward(image), eager.wait)
    return Program(lambda: eager.step(image, label), eager.wait)


def random_batches(net: str, steps: int, size: int, dtype: Any, seed: int) -> dict[str, np.ndarray]:
    """Return images in [0, 1] and labels, by chance."""
    random = np.random.default_rng(seed)
    image = random.random((steps, size, *NETS[net]), np.float32)
    label = random.integers(0, CLASSES, (steps, size), np.int32)
    return {"image": np.asarray(image, dtype), "label": label}
