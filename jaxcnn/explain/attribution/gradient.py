"""The gradient of a score, and the gradient times the input."""

import jax

from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.score import Target, prepared, score_gradient
from jaxcnn.explain.values import expect_finite

__all__ = ["gradient", "gradient_x_input"]


def gradient(logits_fn: LogitsFn, x: jax.Array, target: Target) -> jax.Array:
    """Return how fast the score rises with each value of the image.

    a = df / dx. With its sign: of the saliency map as it is mostly drawn take `abs(a).max(-1)`.

    Args:
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.

    Returns:
        A map of x's shape, in score per unit of x.

    Raises:
        ValueError: a target out of range, outputs that are no logits, a map that is not finite.
        TypeError: x is not floating.

    Source: Simonyan, Vedaldi, Zisserman 2014, section 3; agrees with `captum.attr.Saliency(abs=False)`.
    """
    return expect_finite("gradient", "the map", _gradient(*prepared("gradient", logits_fn, x, target)))


def gradient_x_input(logits_fn: LogitsFn, x: jax.Array, target: Target) -> jax.Array:
    """Return the gradient times the image: what each value adds to the score, to first order.

    a = x df / dx. For nets of ReLUs and max-pools without biases the sum is the score itself.

    Args:
        logits_fn, x, target: as for `gradient`.

    Returns:
        A map of x's shape, in units of the score.

    Raises:
        ValueError, TypeError: as for `gradient`.

    Source: Shrikumar et al. 2016; agrees with `captum.attr.InputXGradient`.
    """
    where = "gradient_x_input"
    return expect_finite(where, "the map", _gradient_x_input(*prepared(where, logits_fn, x, target)))


@jax.jit
def _gradient(logits_fn, x: jax.Array, target) -> jax.Array:
    return score_gradient(logits_fn, x, target)[1]


@jax.jit
def _gradient_x_input(logits_fn, x: jax.Array, target) -> jax.Array:
    return x * score_gradient(logits_fn, x, target)[1]
