"""Weights in a byte each."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.layers.layer import Params, expect_arrays, leaf_name

__all__ = ["Quantized", "dequantize", "quantize"]

MOST = 127  # the grid is symmetric: -128 stays unused


class Quantized(NamedTuple):
    """An array on a grid of 255 values: values * scale, int8 (..., C) and float32 (C,)."""

    values: jax.Array
    scale: jax.Array


def quantize(params: Params) -> Params:
    """Return the parameters with kernels as bytes: a quarter of the memory, after training and without data.

    values = round(kernel / scale), scale = max |kernel| / 127, for each output channel by itself; biases and what
    norms have stay as they are. `dequantize` gives arrays that are at most scale / 2 away from those that were.

    Args:
        params: of a net; fold batch norm first (`surgery.fold_batch_norm`), so that there is less to round.

    Returns:
        The same nested dicts, kernels as `Quantized`.

    Raises:
        TypeError: no nested dicts of floating arrays.
        ValueError: values that are not finite, unless they are traced.

    Source: Jacob et al. 2018, section 2 (symmetric, per output channel); Krishnamoorthi 2018, section 2.4.
    """
    expect_arrays("quantize", "params", params)
    for leaf in jax.tree.leaves(params):
        real = isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)
        expect(real, "quantize", "floating parameters", leaf, "Pass what init or a training returned.", TypeError)
        finite = isinstance(leaf, jax.core.Tracer) or bool(jnp.isfinite(leaf).all())
        expect(finite, "quantize", "finite parameters", "NaN or infinity", "Take weights of before they diverged.")

    def rounded(path: Any, leaf: jax.Array) -> Any:
        if leaf_name(path).rpartition("/")[2] != "kernel":
            return leaf
        scale = jnp.abs(leaf).max(range(leaf.ndim - 1), initial=0).astype(jnp.float32) / MOST
        scale = jnp.where(scale > 0, scale, 1.0)
        return Quantized(jnp.round(leaf / scale).astype(jnp.int8), scale)

    return jax.tree_util.tree_map_with_path(rounded, params)


def dequantize(params: Params) -> Params:
    """Return the parameters with kernels as float32 arrays: what `net.apply` takes.

    Under `jit`, `net.apply(dequantize(quantized), state, x, train=False)` keeps the bytes in memory and makes each
    kernel when it is used.

    Args:
        params: as `quantize` returned them.

    Raises:
        TypeError: no nested dicts of arrays.
    """
    expect_arrays("dequantize", "params", params)
    is_quantized = lambda part: isinstance(part, Quantized)  # noqa: E731
    whole = lambda part: part.values * part.scale if is_quantized(part) else part  # noqa: E731
    return jax.tree.map(whole, params, is_leaf=is_quantized)
