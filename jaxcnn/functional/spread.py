"""A parameter of few numbers beside the many that it acts on."""

import jax
import jax.numpy as jnp

__all__ = ["along_channels", "spread"]


def spread(parameter: jax.Array, like: jax.Array) -> jax.Array:
    """Return the parameter broadcast to the shape of `like` and cast to its dtype.

    In this order: its gradient is then summed in float32, where a sum in bfloat16 stands still at 256 equal terms.
    """
    wide = parameter.astype(jnp.promote_types(parameter.dtype, jnp.float32))
    return jnp.broadcast_to(wide, like.shape).astype(like.dtype)


def along_channels(parameter: jax.Array, like: jax.Array) -> jax.Array:
    """Return the parameter, (C,), with as many axes as `like` has, (1, ..., 1, C), to be broadcast as it is meant."""
    return parameter.reshape((1,) * (like.ndim - 1) + parameter.shape)
