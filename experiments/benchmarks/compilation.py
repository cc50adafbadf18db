"""How long a ResNet-50 training step takes to compile, in jaxcnn and in flax.linen."""

import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.nets import linen, ours
from experiments.benchmarks.pairs import Pairs
from experiments.framework.device import console

BATCH, SHAPE = 8, (224, 224, 3)
PAIRS = 3


def compilation(quick: bool) -> dict[str, Any]:
    """Return `Pairs.figures` of tracing, lowering and compiling, from nothing each time."""
    shape = (32, 32, 3) if quick else SHAPE
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    pairs = Pairs()
    try:
        for _ in range(1 if quick else PAIRS):
            pairs.add(_seconds(ours, shape), _seconds(linen, shape))
            console.print(f"compile   resnet50  linen    {pairs.ours[-1]:9.2f} {pairs.theirs[-1]:9.2f} s", markup=False)
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
    figures = pairs.figures()
    console.print("compile: linen by ours {ratio:.2f} ({low:.2f}..{high:.2f})".format(**figures), markup=False)
    return figures


def _seconds(library: Any, shape: tuple[int, ...]) -> float:
    training = library.build("resnet50", jnp.float32, shape)
    state = jax.eval_shape(training.init, jax.random.key(0))
    batch = {
        "image": jax.ShapeDtypeStruct((BATCH, *shape), jnp.float32),
        "label": jax.ShapeDtypeStruct((BATCH,), jnp.int32),
    }
    jax.clear_caches()
    began = time.perf_counter()
    jax.jit(training.step, donate_argnums=0).lower(state, batch).compile()
    return time.perf_counter() - began
