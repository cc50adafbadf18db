"""What a device can do at most, measured: products of matrices, and moving numbers."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

CALLS = 20  # in a row


def ceiling(*, size: int = 8192, megabytes: int = 4096, dtype: str = "bfloat16", repeats: int = 5) -> dict[str, Any]:
    """Return `tflops` of a product of two square matrices of random numbers, and `terabytes_per_second` of a copy.

    The best of some repeats each; numbers by chance, since zeros let a GPU clock higher.

    Args:
        size: rows and columns.
        megabytes: that are read, and written again.
        dtype: of the matrices; sums are float32 where that is the device's way.
        repeats: of 20 calls in a row.
    """
    one, other = (jax.random.normal(jax.random.key(seed), (size, size), dtype) for seed in (0, 1))
    seconds = fastest(jax.jit(jnp.matmul), (one, other), repeats)
    numbers = jnp.ones((megabytes * 1_000_000 // 4,), jnp.float32)
    copying = fastest(jax.jit(lambda x: x + 1), (numbers,), repeats)
    return {
        "dtype": dtype,
        "size": size,
        "tflops": 2 * size**3 / seconds / 1e12,
        "terabytes_per_second": 2 * numbers.nbytes / copying / 1e12,
    }


def fastest(fn: Callable[..., jax.Array], arguments: tuple[jax.Array, ...], repeats: int) -> float:
    """Return the seconds of one call."""
    jax.block_until_ready(fn(*arguments))
    found: list[float] = []
    last: Any = None  # of a row of calls, whose arrays are given back as they end
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(CALLS):
            last = fn(*arguments)
        jax.block_until_ready(last)
        found.append((time.perf_counter() - began) / CALLS)
    return min(found)
