"""Functions of augmentations: one after another, and over a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect

__all__ = ["batched", "compose"]


def compose(*fns: Callable[[jax.Array, Any], Any]) -> Callable[[jax.Array, Any], Any]:
    """Return the function that applies `fns` one after another, each with a key of its own.

        compose(f, g)(key, x) = g(fold_in(key, 1), f(fold_in(key, 0), x))

    Args:
        fns: functions (key, image) -> image, or of examples; bind options by `functools.partial`.

    Returns:
        A function (key, image) -> image, or of examples; without `fns`, the identity.

    Source:
        torchvision's Compose, with explicit keys.
    """

    def composed(key: jax.Array, image: Any) -> Any:
        for position, fn in enumerate(fns):
            image = fn(jax.random.fold_in(key, position), image)
        return image

    return composed


def batched(fn: Callable[[jax.Array, Any], Any]) -> Callable[[jax.Array, Any], Any]:
    """Return `fn` over a batch, with a key, and so a draw, of its own for each image.

        batched(fn)(key, batch)[n] = fn(split(key, N)[n], batch[n])

    Args:
        fn: a function (key, image) -> image, or of examples.

    Returns:
        A function (key, batch) -> batch; the batch is an array (N, H, W, C), or a dict of arrays with the
        leading axis N.

    Raises:
        ValueError: by the function returned, if the arrays differ in their leading axis.

    Source:
        `jax.vmap`. torchvision's v2 transforms draw once for a whole batch instead.
    """

    def over_batch(key: jax.Array, batch: Any) -> Any:
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batch)]
        ok = bool(shapes) and all(shape[:1] and shape[0] == shapes[0][0] for shape in shapes)
        expect(
            ok,
            "batched",
            "arrays of one leading axis N",
            f"shapes {shapes}",
            "Stack the examples along axis 0.",
        )
        return jax.vmap(fn)(jax.random.split(key, shapes[0][0]), batch)

    return over_batch
