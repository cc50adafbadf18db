"""Maps that keep lengths."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect
from jaxcnn.initializers.kernel import centre, drawn, kernel_shape

__all__ = ["delta_orthogonal", "orthogonal"]


def orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return a random (semi-)orthogonal map from inputs to outputs, uniform over all such (Saxe et al. 2014).

    A matrix (kh * kw * C_in, C_out) with orthonormal columns, or orthonormal rows where there are more columns. Where
    there are not, its variance is 1 / fan_in, and it keeps the variance of activations through linear layers.
    """
    shape, dtype = drawn("orthogonal", key, kernel_shape("orthogonal", shape), dtype)
    wide = jnp.promote_types(dtype, jnp.float32)  # XLA has no QR decomposition in less
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def delta_orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Return an orthogonal map at the centre of the kernel and zeros around it (Xiao et al. 2018).

    The convolution then keeps the length of every pixel's vector of channels exactly, forward, and in a square layer
    backward too: linear nets of any depth pass signals on as they are. Agrees with
    `jax.nn.initializers.delta_orthogonal`.

    Args:
        key: a PRNG key.
        shape: (..., C_in, C_out) with C_out >= C_in: fewer outputs cannot keep all lengths.
        dtype: of the result.

    Raises:
        ValueError: no kernel's shape, or C_out < C_in.
    """
    shape, dtype = drawn("delta_orthogonal", key, kernel_shape("delta_orthogonal", shape), dtype)
    *_, ins, outs = shape
    fix = "Use orthogonal for layers that narrow."
    expect(outs >= ins, "delta_orthogonal", "at least as many outputs as inputs", f"shape {shape}", fix)
    return jnp.zeros(shape, dtype).at[centre(shape)].set(orthogonal(key, (ins, outs), dtype))
