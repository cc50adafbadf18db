"""Functions of augmentations: one after another, one of several, and over a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.options import expect_functions, odds_of, probability
from jaxcnn.augment.switching import switch
from jaxcnn.checking import expect, expect_key, expect_names, is_array

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
    expect_functions("compose", *fns)

    def composed(key: jax.Array, image: Any) -> Any:
        expect_key("compose", key)
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
    expect_functions("choose_one", *fns)
    odds = odds_of("choose_one", weights, len(fns), "Pass the odds of the functions, in their order.")
    ends = np.cumsum(odds) / sum(odds)

    def chosen(key: jax.Array, image: Any) -> Any:
        expect_key("choose_one", key)
        fix = "Make an array of it first."
        ok = isinstance(image, dict) or is_array(image)
        expect(ok, "choose_one", "an image or an example", type(image).__name__, fix, TypeError)
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
    expect_functions("apply_with", fn)
    p = probability("apply_with", p, "Pass the probability of applying the function.")
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
    expect_functions("batched", fn)

    def over_batch(key: jax.Array, batch: Any) -> Any:
        expect_key("batched", key)
        if isinstance(batch, dict):
            expect_names("batched", "a batch", batch)
        shapes: list[Any] = [leaf.shape if is_array(leaf) else () for leaf in jax.tree.leaves(batch)]
        ok = bool(shapes) and all(shape[:1] and shape[0] == shapes[0][0] > 0 for shape in shapes)
        expect(
            ok,
            "batched",
            "arrays of one leading axis N",
            f"shapes {shapes}",
            "Stack the examples along axis 0.",
        )
        return jax.vmap(fn)(jax.random.split(key, shapes[0][0]), batch)

    return over_batch
