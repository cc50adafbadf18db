"""Functions of augmentations: one after another, one of several, and over a batch."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.switching import switch
from jaxcnn.checking import expect

__all__ = ["apply_with", "batched", "choose_one", "compose"]


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


def choose_one(
    *fns: Callable[[jax.Array, Any], Any], weights: Sequence[float] | None = None
) -> Callable[[jax.Array, Any], Any]:
    """Return the function that applies one of `fns`, drawn for each image.

        choose_one(f, g)(key, x) = f(k, x) with probability weights[0] / sum(weights), else g(k, x)

    Args:
        fns: at least one function (key, image) -> image, or of examples, all returning the same shapes and dtypes.
        weights: one for each of fns, at least 0, not all 0; equal unless given.

    Returns:
        A function (key, image) -> image, or of examples. Lifted over a batch on CPU, it computes for an image what was
        drawn for it and nothing else; on other devices, all of `fns`.

    Raises:
        ValueError: no fns; weights of another number, negative, not finite or all 0.

    Source:
        torchvision's RandomChoice, with a draw for each image.
    """
    expect(len(fns) > 0, "choose_one", "at least one function", 0, "Pass functions (key, image) -> image.")
    weights = (1,) * len(fns) if weights is None else tuple(weights)
    fix = "Pass the odds of the functions, in their order."
    expect(len(weights) == len(fns), "choose_one", f"{len(fns)} weights", len(weights), fix)
    ok = all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0
    expect(ok, "choose_one", "weights of at least 0, not all 0", weights, fix)
    ends = np.cumsum(weights) / sum(weights)

    def chosen(key: jax.Array, image: Any) -> Any:
        choice_key, key = jax.random.split(key)
        index = jnp.sum(jax.random.uniform(choice_key) >= ends[:-1].astype(np.float32), dtype=jnp.int32)
        return switch(index, fns, key, image)

    return chosen


def apply_with(fn: Callable[[jax.Array, Any], Any], p: float) -> Callable[[jax.Array, Any], Any]:
    """Return the function that applies `fn` with probability p, drawn for each image, and else does nothing.

    Args:
        fn: a function (key, image) -> image, or of examples, that keeps shapes and dtypes.
        p: probability, in [0, 1].

    Returns:
        A function (key, image) -> image, or of examples.

    Raises:
        ValueError: p outside [0, 1].

    Source:
        torchvision's RandomApply, with a draw for each image.
    """
    expect(0 <= p <= 1, "apply_with", "p in [0, 1]", p, "Pass the probability of applying the function.")
    return choose_one(fn, lambda key, image: image, weights=(p, 1 - p))


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
