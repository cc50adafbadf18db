"""Images moved a little at every step: what is left of a maximum that has to hold wherever the image lies."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import augment
from jaxcnn.augment.options import Padding, outside_of
from jaxcnn.checking import expect, number, shown

__all__ = ["Robustness", "RandomTransform", "expect_transforms", "moved"]

RandomTransform = Callable[[jax.Array, jax.Array], jax.Array]
"""A key and one image (H, W, C) -> an image: any function of `jaxcnn.augment`, its options bound. It is static."""


@dataclass(frozen=True)
class Robustness:
    """One image, jittered, turned and zoomed by random amounts, in one bilinear interpolation (`augment.affine`).

    Args:
        jitter: the largest move along each axis, as a fraction of the side, at least 0.
        rotate: the largest angle either way, in degrees, at least 0.
        scale: the largest zoom either way, as a fraction below 1: from 1 - scale to 1 + scale.
        padding_mode: what comes in from outside: "edge" (the outermost pixels), "reflect", or "constant" (fill).
        fill: the value outside for "constant", in [0, 1].

    Source: Olah, Mordvintsev, Schubert 2017, "Feature visualization", transformation robustness.
    """

    jitter: float = 1 / 16
    rotate: float = 5.0
    scale: float = 0.05
    padding_mode: Padding = "edge"
    fill: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        where = "Robustness"
        number(where, "jitter of at least 0", self.jitter, lambda j: 0 <= j < math.inf, "Pass 0.1, say.")
        number(where, "rotate of at least 0 degrees", self.rotate, lambda r: 0 <= r < math.inf, "Pass 5, say.")
        number(where, "scale in [0, 1)", self.scale, lambda s: 0 <= s < 1, "Pass 0.05, say.")
        outside_of(where, self.padding_mode, self.fill, 0)

    def __call__(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """Return the image (H, W, C), moved."""
        return augment.affine(
            key,
            image,
            degrees=self.rotate,
            factor=(1 - self.scale, 1 + self.scale),
            max_shift=(self.jitter * image.shape[0], self.jitter * image.shape[1]),
            padding_mode=self.padding_mode,
            fill=self.fill,
        )


def expect_transforms(where: str, transforms: Any) -> tuple[RandomTransform, ...]:
    """Return the option as a tuple; raise `TypeError` unless it holds functions alone."""
    transforms = (transforms,) if callable(transforms) else transforms
    ok = isinstance(transforms, Sequence) and all(map(callable, transforms))
    fix = "Pass (maximization.Robustness(jitter=0.1),), say, or () for none."
    expect(ok, where, "transforms as a sequence of functions (key, image) -> image", shown(transforms), fix, TypeError)
    return tuple(transforms)


def moved(transforms: tuple[RandomTransform, ...], key: jax.Array, images: jax.Array) -> jax.Array:
    """Return images (..., H, W, C) after the transforms, one after another, each image by draws of its own."""
    if not transforms:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    out = augment.batched(augment.compose(*transforms))(key, flat)
    return jnp.reshape(out, (*images.shape[:-3], *out.shape[1:]))
