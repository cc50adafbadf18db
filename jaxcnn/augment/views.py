"""Views of images, and what a net says of several of them, averaged: augmentation at test time."""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.options import Padding, expect_functions, odds_of, outside_of
from jaxcnn.checking import array, expect, expect_choice, expect_size, is_int, shown

__all__ = ["mirrored", "shifted", "test_time"]

View = Callable[[jax.Array], jax.Array]


def mirrored(images: jax.Array) -> jax.Array:
    """Return the images (..., H, W, C) mirrored left to right: a view for `test_time`."""
    images = _images("mirrored", images)
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
    ok = is_int(down) and is_int(right)
    expect(ok, "shifted", "moves in whole pixels", shown((down, right)), "Pass ints.")
    down, right = int(down), int(right)
    fill = outside_of("shifted", padding_mode, fill, 0).fill
    images = _images("shifted", images)
    moved = [side + abs(move) for side, move in zip(images.shape[-3:-1], (down, right), strict=True)]
    expect_size("shifted", "a moved image", moved, "Move it by fewer pixels.")
    pads = [(0, 0)] * (images.ndim - 3) + [(max(d, 0), max(-d, 0)) for d in (down, right)] + [(0, 0)]
    options = {"constant_values": fill} if padding_mode == "constant" else {}
    height, width = images.shape[-3:-1]
    top, left = max(-down, 0), max(-right, 0)
    return jnp.pad(images, pads, padding_mode, **options)[..., top : top + height, left : left + width, :]


def _images(where: str, images: jax.Array) -> jax.Array:
    images = array(where, "images", images)
    ok = images.ndim >= 3 and min(images.shape[-3:]) > 0
    expect(ok, where, "images (..., H, W, C) with a pixel", f"shape {images.shape}", "Grey ones have one channel.")
    return images


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
    expect_functions("test_time", logits_fn)
    fix = "Pass functions from images to images."
    expect(isinstance(views, Sequence), "test_time", "a sequence of views", shown(views), fix, TypeError)
    expect(len(views) > 0, "test_time", "at least one view", 0, fix)
    expect_functions("test_time", *views)
    kinds = ("logits", "probabilities")
    expect_choice("test_time", f"average to be one of {kinds}", average, kinds)
    odds = odds_of("test_time", weights, len(views), "Pass one for each view.")

    shares = np.array(odds, np.float32) / sum(odds)

    def averaged(images: jax.Array) -> jax.Array:
        logits = jnp.stack([logits_fn(view(images)).astype(jnp.float32) for view in views], -1)
        share = jnp.broadcast_to(shares, logits.shape)
        if average == "logits":
            return jnp.sum(share * logits, -1)
        return jax.nn.logsumexp(jax.nn.log_softmax(logits, -2), -1, b=share)

    return averaged
