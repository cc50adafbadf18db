"""Transforms of images by a given amount, for curves of what they change: nothing is random."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxcnn.augment.affine import linear_motion, turn_matrix
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import outside_of
from jaxcnn.checking import expect, floating, is_number

__all__ = ["Transform", "flip_by", "rotate_by", "scale_by", "shift_by"]

Transform = Callable[[jax.Array, float], jax.Array]
"""Images (..., H, W, C) and an amount -> such images. Maps of another size are moved likewise."""


def shift_by(images: jax.Array, amount: float) -> jax.Array:
    """Return images moved to the right by a fraction of their width, with 0 coming in; bilinear between pixels.

    Args:
        images: (..., H, W, C), floating.
        amount: 0.25 moves by a quarter; negative ones to the left.
    """
    return _moved("shift_by", images, amount)


def rotate_by(images: jax.Array, amount: float) -> jax.Array:
    """Return images turned about their centre, counter-clockwise as displayed, with 0 coming in; bilinear.

    Args:
        images: (..., H, W, C), floating.
        amount: in degrees.
    """
    return _moved("rotate_by", images, amount)


def scale_by(images: jax.Array, amount: float) -> jax.Array:
    """Return images zoomed about their centre, with 0 coming in where they shrink; bilinear.

    Args:
        images: (..., H, W, C), floating.
        amount: the factor, above 0; above 1 things grow.

    Raises:
        ValueError: an amount that is known not to be above 0.
    """
    expect(not is_number(amount) or amount > 0, "scale_by", "an amount above 0", amount, "1.0 changes nothing.")
    return _moved("scale_by", images, amount)


def flip_by(images: jax.Array, amount: float) -> jax.Array:
    """Return images mirrored left to right where the amount is 1, and as they are where it is 0.

    Args:
        images: (..., H, W, C), floating.
        amount: 0 or 1; between them a mixture of both.
    """
    images = _images("flip_by", images)
    return images + jnp.asarray(amount, images.dtype) * (jnp.flip(images, -2) - images)


def _images(where: str, images: jax.Array) -> jax.Array:
    images = floating(where, "images", images)
    ok = images.ndim >= 3 and images.size > 0
    expect(ok, where, "images (..., H, W, C) with a pixel", images.shape, "Grey ones have one channel.")
    return images


def _moved(kind: str, images: jax.Array, amount: float) -> jax.Array:
    images = _images(kind, images)
    return _resampled(images, jnp.asarray(amount, jnp.float32), kind=kind)


@partial(jax.jit, static_argnames="kind")
def _resampled(images: jax.Array, amount: jax.Array, *, kind: str) -> jax.Array:
    frame = images.shape[-3], images.shape[-2]
    pixels = _motion(kind, frame, amount).pixels
    return jax.vmap(pixels)(images.reshape(-1, *images.shape[-3:])).reshape(images.shape)


def _motion(kind: str, frame: tuple[int, int], amount: jax.Array) -> Motion:
    back, move = ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0)
    if kind == "shift_by":
        move = (0.0, amount * frame[1])
    elif kind == "rotate_by":
        back = turn_matrix(amount)
    else:
        back = turn_matrix(0.0, amount)
    centre = (frame[0] - 1) / 2, (frame[1] - 1) / 2
    return linear_motion(frame, back, centre, move, outside_of(kind, "constant", 0.0, 0))
