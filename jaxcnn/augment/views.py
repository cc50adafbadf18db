"""Views of images, and what a net says of several of them, averaged: augmentation at test time."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.options import Padding, expect_functions, odds_of, outside_of
from jaxcnn.checking import array, expect, expect_choice, expect_size, is_int, shown

__all__ = ["View", "mirrored", "shifted", "test_time"]

View = Callable[[jax.Array], jax.Array]
"""`images -> images`, of the same shape; with an attribute `back`, `maps -> maps`, that moves what was seen back."""


def mirrored(images: jax.Array) -> jax.Array:
    """Return the images (..., H, W, C) mirrored left to right: a view for `test_time`, its own inverse `back`."""
    images = _images("mirrored", images)
    return jnp.flip(images, -2)


mirrored.back = mirrored  # pyrefly: ignore


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
        fill: the value outside for "constant", in [0, 1], of which uint8 images get 255 times as much.

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
    fill = round(255 * fill) if images.dtype == jnp.uint8 else fill
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
    logits_fn: Callable[[jax.Array], Any],
    views: Sequence[View] = (lambda images: images, mirrored),  # noqa: PT028, no test in spite of its name
    *,
    weights: Sequence[float] | None = None,  # noqa: PT028
    average: Literal["logits", "probabilities"] = "logits",  # noqa: PT028
) -> Callable[[jax.Array], Any]:
    """Return the function of images whose logits are the average over several views of them.

        logits(x) = sum_v w[v] logits_fn(view_v(x)) / sum_v w[v],    or, with average="probabilities",
        logits(x) = log sum_v w[v] softmax(logits_fn(view_v(x))) / sum_v w[v]

    Maps of logits are moved back first, each by its view's own `back`, so that what is averaged is of one place. A view
    that returns the images themselves needs none.

    Args:
        logits_fn: from images (..., H, W, C) to logits (..., classes) or maps (..., h, w, classes), or a dict of such;
            `training.predictor` makes one. Channels that speak of a direction, as a detector's offsets do, stay as they
            are: average none of those.
        views: functions from images to images of the same shape; the images and their mirror images unless given.
            `view.back = ...` gives one its inverse.
        weights: one for each view, at least 0, not all 0; equal unless given.
        average: of what.

    Returns:
        `images -> logits`, float32, of the shapes that `logits_fn` gives.

    Raises:
        ValueError: no views; weights of another number, negative, not finite or all 0; another average. When called,
            maps of a view that has no `back`, and outputs of other ranks.

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

    def mean(*logits: jax.Array) -> jax.Array:
        stacked = jnp.stack([each.astype(jnp.float32) for each in logits], -1)
        share = jnp.broadcast_to(shares, stacked.shape)
        if average == "logits":
            return jnp.sum(share * stacked, -1)
        return jax.nn.logsumexp(jax.nn.log_softmax(stacked, -2), -1, b=share)

    def averaged(images: jax.Array) -> Any:
        return jax.tree.map(mean, *(_seen(view, logits_fn, images) for view in views))

    return averaged


def _seen(view: View, logits_fn: Callable[[jax.Array], Any], images: jax.Array) -> Any:
    """Return what a net says of a view, each of its maps moved back."""
    moved = view(images)
    back: Any = getattr(view, "back", None)

    def placed(logits: jax.Array) -> jax.Array:
        axes = jnp.ndim(logits) - (jnp.ndim(images) - 3)
        if axes <= 1 or moved is images:
            return logits
        what, fix = "outputs (..., classes) or (..., h, w, classes)", "Leave the views out."
        expect(axes == 3, "test_time", what, logits.shape, fix)
        fix = "Give it one, view.back = augment.mirrored, say, or leave it out."
        expect(callable(back), "test_time", "views with an inverse, `back`, for maps", shown(view), fix)
        return back(logits)

    return jax.tree.map(placed, logits_fn(moved))
