"""A parameter of few numbers beside the many that it acts on."""

import jax
import jax.numpy as jnp

__all__ = ["spread"]


def spread(parameter: jax.Array, like: jax.Array) -> jax.Array:
    """Return the parameter broadcast to the shape of `like` and cast to its dtype.

    In this order: its gradient is then summed in float32, where a sum in bfloat16 stands still at 256 equal terms.
    """
    wide = parameter.astype(jnp.promote_types(parameter.dtype, jnp.float32))
    return jnp.broadcast_to(wide, like.shape).astype(like.dtype)
