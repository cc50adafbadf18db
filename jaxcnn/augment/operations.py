"""The operations that policies choose from, each a function of one number: how strong it is."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.augment.affine import linear_motion
from jaxcnn.augment.blending import blend
from jaxcnn.augment.colour import luma
from jaxcnn.augment.example import Example, augmentation, geometric, lifted
from jaxcnn.augment.filtering import smoothed
from jaxcnn.augment.histogram import autocontrast, equalize
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import Outside, outside_of
from jaxcnn.augment.quantization import posterized
from jaxcnn.augment.tone import solarized

__all__ = ["Operation", "Strengths", "named_operations", "policy"]

Operation = Callable[[jax.Array, Any], Any]
"""`(level, image or example) -> the same`, the level float32 in [-1, 1]; of its sign some make no use."""


class Strengths(NamedTuple):
    """What the operations do at level 1, and bits at 0.

    Args:
        shear: the tangent of the angle.
        shift: from a side of the image in pixels to the distance in pixels, cut to a whole number.
        degrees: of the rotation.
        blend: how far brightness, color, contrast and sharpness are from 1.
        bits: how many of 8 are kept at level 0, and at level 1.
    """

    shear: float
    shift: Callable[[int], float]
    degrees: float
    blend: float
    bits: tuple[int, int]


def policy(fn: Callable[..., Example]) -> Callable[..., Any]:
    """Return `fn`, a function of a key and an example with a checked image, as one that takes images too."""
    return lifted(fn, fn)


def named_operations(where: str, strengths: Strengths, fill: float, mask_fill: int) -> dict[str, Operation]:
    """Return the 14 operations of RandAugment for the policy `where`; `fill` and `mask_fill` come in from outside.

    They are torchvision's, on values in [0, 1] instead of 0..255, with bilinear interpolation.
    """
    outside = outside_of(where, "constant", fill, mask_fill)
    shear, shift, degrees, strength, (most, least) = strengths
    corner = (-0.5, -0.5)  # of the frame, where (0, 0) is the centre of the first pixel
    # What `linear_motion` takes: the matrix that leads back, its centre, and the move, all (row, column).
    moves = {
        "shear_x": lambda level, size: (((1, 0), (shear * level, 1)), corner, (0, 0)),
        "shear_y": lambda level, size: (((1, shear * level), (0, 1)), corner, (0, 0)),
        "translate_x": lambda level, size: (((1, 0), (0, 1)), corner, (0, jnp.trunc(level * shift(size[1])))),
        "translate_y": lambda level, size: (((1, 0), (0, 1)), corner, (jnp.trunc(level * shift(size[0])), 0)),
        "rotate": lambda level, size: _turn(level * math.radians(degrees), size),
    }
    changes = {
        "brightness": lambda level, image: blend(image, 0.0, 1 + strength * level),
        "color": lambda level, image: blend(image, luma(image), 1 + strength * level),
        "contrast": lambda level, image: blend(image, jnp.mean(luma(image)), 1 + strength * level),
        "sharpness": lambda level, image: blend(image, smoothed(image), 1 + strength * level),
        "posterize": lambda level, image: posterized(image, most - _whole((most - least) * abs(level))),
        "solarize": lambda level, image: solarized(image, 1 - abs(level)),
        "autocontrast": lambda level, image: autocontrast(image),
        "equalize": lambda level, image: equalize(image),
    }
    return {
        "identity": lambda level, image: image,
        **{name: _moved(where, move, outside) for name, move in moves.items()},
        **{name: augmentation(change) for name, change in changes.items()},
    }


def _moved(where: str, move: Callable, outside: Outside) -> Operation:
    def motion(level: jax.Array, frame: tuple[int, int], *, mask_fill: int) -> Motion:
        back, centre, distance = move(level, frame)
        return linear_motion(frame, back, centre, distance, outside)

    motion.__name__ = where  # what errors in masks, boxes and keypoints begin with
    return partial(geometric(motion), mask_fill=outside.mask_fill)


def _turn(angle: jax.Array, size: tuple[int, int]) -> tuple:
    """What turns the picture counter-clockwise about its centre."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return ((cos, sin), (-sin, cos)), ((size[0] - 1) / 2, (size[1] - 1) / 2), (0, 0)


def _whole(number: jax.Array) -> jax.Array:
    return jnp.round(number).astype(jnp.int32)
