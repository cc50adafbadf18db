"""Policies without a search: a few operations of one strength, or one of any strength."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.colour import expect_colours
from jaxcnn.augment.example import Example
from jaxcnn.augment.operations import Strengths, named_operations, policy
from jaxcnn.augment.switching import switch
from jaxcnn.checking import expect, expect_count, is_int, shown

__all__ = ["rand_augment", "trivial_augment"]

MOST_BINS = 2**20

_STANDARD = Strengths(shear=0.3, shift=lambda side: side * 150 / 331, degrees=30, blend=0.9, bits=(8, 4))
_WIDE = Strengths(shear=0.99, shift=lambda side: 32, degrees=135, blend=0.99, bits=(8, 2))


@policy
def rand_augment(
    key: jax.Array,
    image: Example,
    *,
    operations: int = 2,
    magnitude: int = 9,
    bins: int = 31,
    fill: float = 0.0,
    mask_fill: int = 0,
) -> Example:
    """Return the image after some operations, each drawn from 14, at one strength.

    The operations: identity, shear and translation along x and y, rotation, brightness, color, contrast, sharpness,
    posterize, solarize, autocontrast, equalize. At level l = magnitude / (bins - 1) shears have the tangent 0.3 l,
    translations int(150 / 331 l) of the side, rotations 30 l degrees; brightness, color, contrast and sharpness blend
    with the factor 1 + 0.9 l; all these with a random sign of l. round(4 l) bits are dropped, values from 1 - l on
    inverted.

    Args:
        key: a typed key.
        image: floating (H, W, 3), or grey (H, W, 1), in [0, 1], or an example; masks, boxes and keypoints move along.
        operations: how many, one after another, at least 1.
        magnitude: their strength, a whole number in 0..bins - 1.
        bins: how many strengths there are, at least 2.
        fill: the value that comes in from outside, in [0, 1].
        mask_fill: the label that comes in from outside, in masks.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: operations, magnitude or bins not whole or out of range; fill outside [0, 1]; mask_fill no integer;
            neither 1 nor 3 channels.

    Source:
        Cubuk et al. 2020 (RandAugment), algorithm 1. The operations are those of torchvision's RandAugment with
        bilinear interpolation and no fill, within 1e-4 on images of 8 bits, 1e-3 for color and contrast (its luma has
        rounded weights).
    """
    operations = expect_count("rand_augment", "operations", operations, most=20)
    bins = expect_count("rand_augment", "bins", bins, 2, MOST_BINS)
    ok = is_int(magnitude, 0, bins - 1)
    expect(
        ok, "rand_augment", f"magnitude in 0..{bins - 1}", shown(magnitude), "Pass a whole number; 9 of 31 is usual."
    )
    magnitude = int(magnitude)
    expect_colours("rand_augment", image["image"])
    fns = list(named_operations("rand_augment", _STANDARD, fill, mask_fill).values())
    for which, sign in jax.random.uniform(key, (operations, 2)):
        level = jnp.where(sign < 0.5, -1, 1) * jnp.float32(magnitude / (bins - 1))
        image = switch((which * len(fns)).astype(jnp.int32), fns, level, image)
    return image


@policy
def trivial_augment(
    key: jax.Array, image: Example, *, bins: int = 31, fill: float = 0.0, mask_fill: int = 0
) -> Example:
    """Return the image after one operation, drawn from 14, at a random strength.

    The operations of `rand_augment`, stronger: at level l, uniform on {0, ..., bins - 1} / (bins - 1), shears have the
    tangent 0.99 l, translations int(32 l) pixels, rotations 135 l degrees; the blends have the factor 1 + 0.99 l; all
    these with a random sign of l. round(6 l) bits are dropped, values from 1 - l on inverted.

    Args:
        key: a typed key.
        image: floating (H, W, 3), or grey (H, W, 1), in [0, 1], or an example; masks, boxes and keypoints move along.
        bins: how many strengths there are, at least 2.
        fill: the value that comes in from outside, in [0, 1].
        mask_fill: the label that comes in from outside, in masks.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bins not whole or below 2; fill outside [0, 1]; mask_fill no integer; neither 1 nor 3 channels.

    Source:
        Müller and Hutter 2021 (TrivialAugment), section 3, with its wide space. The operations are those of
        torchvision's TrivialAugmentWide, as in `rand_augment`.
    """
    bins = expect_count("trivial_augment", "bins", bins, 2, MOST_BINS)
    expect_colours("trivial_augment", image["image"])
    fns = list(named_operations("trivial_augment", _WIDE, fill, mask_fill).values())
    which, strength, sign = jax.random.uniform(key, (3,))
    level = jnp.where(sign < 0.5, -1, 1) * jnp.floor(strength * bins) / (bins - 1)
    return switch((which * len(fns)).astype(jnp.int32), fns, level, image)
