"""Sensitivity: how far does the explanation move when the image hardly does?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, expect_key, floating, number
from jaxcnn.explain.trust.pixels import expect_images
from jaxcnn.explain.values import expect_finite

__all__ = ["max_sensitivity"]


def max_sensitivity(
    key: jax.Array, explain_fn: Callable[[jax.Array], Any], x: jax.Array, *, radius: float = 0.02, samples: int = 10
) -> jax.Array:
    """Return how far explanations of nearly the same images lie apart at most, as a fraction of their length.

        max_delta || attribution(x + delta) - attribution(x) || / || attribution(x) ||,   |delta| <= radius

    Args:
        key: a PRNG key.
        explain_fn: images -> attribution, of any shape with the leading axes of the images. It is called `samples` + 1
            times as it is, so a method that is compiled already is not compiled again.
        x: images (..., H, W, C), floating.
        radius: the largest change of a value, > 0; images lie in [0, 1].
        samples: uniform changes that are tried.

    Returns:
        (...), one number an image. Where the attribution of x is zero throughout, the length itself.

    Raises:
        ValueError: a radius that is not positive, attributions that are not finite or of other leading axes.
        TypeError: x or an attribution is not floating, no key, an explain_fn that is no function.

    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, definition 4.1; agrees with `captum.metrics.sensitivity_max`,
    which tries samples likewise.
    """
    where = "max_sensitivity"
    expect_key(where, key)
    x = floating(where, "x", x)
    expect_images(where, x)
    fix = "Pass lambda x: explain.gradient(logits_fn, x, target), say."
    expect(callable(explain_fn), where, "explain_fn as a function of images", explain_fn, fix, TypeError)
    radius = number(where, "a radius above 0", radius, lambda r: r > 0, "Pass 0.02, say.")
    lead = x.shape[:-3]

    def explained(x: jax.Array) -> jax.Array:
        found = floating(where, "the attribution", explain_fn(x))
        fix = "Return a map for each image."
        expect(found.shape[: len(lead)] == lead, where, f"an attribution {lead} + (...)", found.shape, fix)
        expect_finite(where, "the attribution", found)
        return found

    first, most = explained(x), jnp.zeros(lead, x.dtype)
    for one in jax.random.split(key, expect_count(where, "samples", samples)):
        most = jnp.maximum(most, _moved(first, explained(_shaken(one, x, radius)), axes=len(lead)))
    return most


@jax.jit
def _shaken(key: jax.Array, x: jax.Array, radius: jax.Array | float) -> jax.Array:
    return x + jax.random.uniform(key, x.shape, x.dtype, -radius, radius)


@partial(jax.jit, static_argnames="axes")
def _moved(first: jax.Array, second: jax.Array, *, axes: int) -> jax.Array:
    rest = tuple(range(axes, first.ndim))
    length = jnp.sqrt((first**2).sum(axis=rest))
    return jnp.sqrt(((second - first) ** 2).sum(axis=rest)) / jnp.where(length == 0, 1, length)
