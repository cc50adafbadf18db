"""Views of images, and what a net says of several of them, averaged: augmentation at test time."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.options import Padding, outside_of
from jaxcnn.checking import expect, is_int

__all__ = ["mirrored", "shifted", "test_time"]

View = Callable[[jax.Array], jax.Array]


def mirrored(images: jax.Array) -> jax.Array:
    """Return the images (..., H, W, C) mirrored left to right: a view for `test_time`."""
    return jnp.flip(images, -2)


def shifted(
    images: jax.Array, *, down: int = 0, right: int = 0, padding_mode: Padding = "reflect", fill: float = 0.0
) -> jax.Array:
    """Return the images moved by whole pixels: a view for `test_time`, with its options bound by `partial`.

        y[..., i, j, :] = x[..., i - down, j - right, :]

    Args:
        images: (..., H, W, C), of any dtype.
        down, right: the move in pixels, negative for up and left.
        padding_mode: what comes in from outside: "constant" (fill), "reflect" (mirrored about the outermost
            pixels, which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", in [0, 1].

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: a move that is not whole; another padding_mode; fill outside [0, 1].

    Source:
        `numpy.pad`.
    """
    expect(is_int(down) and is_int(right), "shifted", "moves in whole pixels", (down, right), "Pass ints.")
    outside_of("shifted", padding_mode, fill, 0)
    pads = [(0, 0)] * (images.ndim - 3) + [(max(d, 0), max(-d, 0)) for d in (down, right)] + [(0, 0)]
    options = {"constant_values": fill} if padding_mode == "constant" else {}
    height, width = images.shape[-3:-1]
    top, left = max(-down, 0), max(-right, 0)
    return jnp.pad(images, pads, padding_mode, **options)[..., top : top + height, left : left + width, :]


def test_time(
    logits_fn: Callable[[jax.Array], jax.Array],
    views: Sequence[View] = (lambda images: images, mirrored),  # noqa: PT028, no test in spite of its name
    *,
    weights: Sequence[float] | None = None,  # noqa: PT028
    average: Literal["logits", "probabilities"] = "logits",  # noqa: PT028
) -> Callable[[jax.Array], jax.Array]:
    """Return the function of images whose logits are the average over several views of them.

        logits(x) = sum_v w[v] logits_fn(view_v(x)) / sum_v w[v],    or, with average="probabilities",
        logits(x) = log sum_v w[v] softmax(logits_fn(view_v(x))) / sum_v w[v]

    Args:
        logits_fn: from images (..., H, W, C) to logits (..., classes), such as `training.predictor` makes.
        views: functions from images to images of the same shape; the images and their mirror images unless given.
        weights: one for each view, at least 0, not all 0; equal unless given.
        average: of what.

    Returns:
        `images -> logits`, float32 (..., classes).

    Raises:
        ValueError: no views; weights of another number, negative, not finite or all 0; another average.

    Source:
        Krizhevsky et al. 2012 (AlexNet), section 4.1, which averages probabilities; airbench averages logits.
    """
    expect(len(views) > 0, "test_time", "at least one view", 0, "Pass functions from images to images.")
    weights = (1,) * len(views) if weights is None else tuple(weights)
    fix = "Pass one for each view."
    expect(len(weights) == len(views), "test_time", f"{len(views)} weights", len(weights), fix)
    ok = all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0
    expect(ok, "test_time", "weights of at least 0, not all 0", weights, fix)
    kinds = ("logits", "probabilities")
    expect(average in kinds, "test_time", f"average to be one of {kinds}", repr(average), "Choose one of them.")

    shares = np.array(weights, np.float32) / sum(weights)

    def averaged(images: jax.Array) -> jax.Array:
        logits = jnp.stack([logits_fn(view(images)).astype(jnp.float32) for view in views], -1)
        if average == "logits":
            return jnp.sum(shares * logits, -1)
        return jax.nn.logsumexp(jax.nn.log_softmax(logits, -2), -1, b=shares)

    return averaged
