"""The cases of the benchmark: every mode, net and peer against jaxcnn."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.nets import Training
from experiments.benchmarks.pairs import Program, compare, eager_program, jax_program
from jaxcnn.checking import expect

# The file below nets/ of each library.
FILES = {
    "ours": "ours",
    "linen": "linen",
    "nnx": "nnx",
    "equinox": "equinox_nets",
    "haiku": "haiku_nets",
    "torch": "torch_nets",
}
PACKAGES = {"linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "dm-haiku", "torch": "torch"}
EAGER = ("step", "inference")  # the modes of PyTorch

Row = dict[str, Any]


def build(library: str, net: str, dtype: str) -> Any:
    """Return the net in a library, or in words why there is none."""
    try:
        module = importlib.import_module(f"experiments.benchmarks.nets.{FILES[library]}")
        built = module.build(net, jnp.dtype(dtype))
        if isinstance(built, Training):
            jax.eval_shape(built.init, jax.random.key(0))  # a library may break as late as here
        return built
    except ModuleNotFoundError as missing:
        return f"not installed: {missing.name}"
    except Exception as error:  # another library that breaks is a finding, and no end of the benchmark
        if library == "ours":
            raise
        return reason(error)


def parameters(net: str, builds: Mapping[str, Any]) -> int:
    """Return how many parameters the net has; raise `ValueError` where the libraries differ."""
    counts = {}
    for library, built in builds.items():
        if isinstance(built, Training):
            params = built.params(jax.eval_shape(built.init, jax.random.key(0)))
            counts[library] = sum(leaf.size for leaf in jax.tree.leaves(params))
        elif not isinstance(built, str):
            counts[library] = sum(parameter.numel() for parameter in built.net.parameters())
    fix = "Make the nets of all libraries the same."
    expect(len(set(counts.values())) <= 1, "peers", f"one parameter count of {net} in all libraries", counts, fix)
    return next(iter(counts.values()), 0)


def measure(
    mode: str,
    net: str,
    builds: Mapping[str, Any],
    batches: Mapping[str, np.ndarray],
    *,
    lanes: int,
    seed: int,
    seconds: float,
    turn: float,
) -> Iterator[Row]:
    """Yield a row for each peer: `Pairs.figures`, or under "failed" why there are none.

    Args:
        mode, net: which.
        builds: library -> what `build` returned, "ours" among them.
        batches, lanes, seed: as for `jax_program`.
        seconds, turn: as for `compare`.
    """

    def program(library: str) -> Program | str:
        built = builds[library]
        if isinstance(built, str):
            return built
        try:
            if isinstance(built, Training):
                return jax_program(built, mode, batches, lanes, seed)
            return eager_program(built, mode, batches) if mode in EAGER else "not compared: eager"
        except Exception as error:  # as above
            if library == "ours":
                raise
            return reason(error)

    ours: Any = program("ours")
    for peer in builds:
        if peer == "ours":
            continue
        row: Row = {"mode": mode, "net": net, "peer": peer}
        theirs = program(peer)
        if isinstance(theirs, str):
            yield row | {"failed": theirs}
            continue
        try:
            figures = compare(ours, theirs, seconds, turn).figures()
        except Exception as error:  # as above
            yield row | {"failed": reason(error)}
            continue
        yield row | figures | {"ours_mb": ours.megabytes, "theirs_mb": theirs.megabytes}


def line(row: Row) -> str:
    """Return a row as text."""
    start = f"{row['mode']:<9} {row['net']:<9} {row['peer']:<8}"
    if "failed" in row:
        return f"{start} {row['failed']}"
    memory = "" if row["theirs_mb"] is None else f"  {row['ours_mb']:7.1f} {row['theirs_mb']:7.1f} MB"
    return (
        f"{start} {row['ours_ms']:9.2f} {row['theirs_ms']:9.2f} ms  {row['ratio']:7.2f} "
        f"({row['low']:.2f}..{row['high']:.2f}, {row['pairs']} pairs){memory}"
    )


def reason(error: Exception) -> str:
    """Return an error in a line."""
    first: Sequence[str] = str(error).splitlines() or [""]
    return f"failed: {type(error).__name__}: {first[0][:160]}"
