"""A batch in parts: a few images at a time, so that what is between two large arrays stays in the cache."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["in_parts"]


def in_parts(run: Callable[..., jax.Array], arrays: Sequence[jax.Array], images: int) -> jax.Array:
    """Return what `run` makes of about `images` images at a time, stacked, (parts, ...).

    Part j has the images j, j + parts, ...: of a batch that is spread over devices each device has some.
    """
    batch = arrays[0].shape[0]
    images = max(count for count in range(1, min(images, batch) + 1) if batch % count == 0)
    split = [a.reshape(images, batch // images, *a.shape[1:]) for a in arrays]
    return lax.map(
        lambda j: run(*(lax.dynamic_index_in_dim(a, j, 1, keepdims=False) for a in split)),
        jnp.arange(batch // images),
    )
