"""Erasing: images with parts missing, so that a net cannot rely on any of them."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import brightness_of, interval, probability, whole_interval
from jaxcnn.checking import expect, expect_count, number
from jaxcnn.functional.primitives.random_bits import random_bits

__all__ = ["cutout", "grid_mask", "random_erasing"]

ATTEMPTS = 10
"""Rectangles that `random_erasing` draws at once, of which it takes the first that fits."""


@augmentation
def cutout(key: jax.Array, image: jax.Array, *, size: int, fill: float = 0.0) -> jax.Array:
    """Return the image with a square at a random place filled.

        y[i, j] = fill where r - size // 2 <= i < r - size // 2 + size, and j likewise,
        r uniform on {0, ..., H - 1}, c on {0, ..., W - 1}

    The centre lies in the image; the square may stick out.

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        size: of the square in pixels, at least 1.
        fill: its value, in [0, 1].

    Returns:
        An image of the same shape and dtype.

    Raises:
        ValueError: size not whole or below 1; fill outside [0, 1].

    Source:
        DeVries and Taylor 2017 (Cutout), section 3.2, with size 16 on CIFAR-10.
    """
    size = expect_count("cutout", "size", size, most=2**20)
    fill = brightness_of("cutout", fill)
    height, width, _ = image.shape
    centre = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
    top, left = centre - size // 2
    return jnp.where(_rectangle(image, top, left, size, size), jnp.asarray(fill, image.dtype), image)


@augmentation
def random_erasing(
    key: jax.Array,
    image: jax.Array,
    *,
    p: float = 0.5,
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
    fill: float | Literal["random"] = 0.0,
) -> jax.Array:
    """Return the image with a random rectangle filled with probability p, else as it is.

        height = round(sqrt(a H W r)),    width = round(sqrt(a H W / r)),
        a uniform on area, log r uniform on log aspect, the place uniform where the rectangle fits

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        p: probability, in [0, 1].
        area: the interval (low, high) of the rectangle's share of the image, within [0, 1].
        aspect: the interval (low, high) of height / width, low > 0.
        fill: the value in [0, 1], or "random" for noise, uniform on {0, ..., 255} / 255.

    Returns:
        An image of the same shape and dtype. Of ten rectangles the first that is smaller than the image on both
        sides is taken; where none is, the image stays as it is.

    Raises:
        ValueError: p outside [0, 1]; bounds in the wrong order or out of range; another fill.

    Source:
        Zhong et al. 2017 (Random erasing), algorithm 1, with the draws of torchvision's RandomErasing, whose "random"
        is normal.
    """
    p = probability("random_erasing", p, "Pass the probability of erasing.")
    low, high = interval("random_erasing", "area", area)
    ok = low >= 0 and high <= 1
    expect(ok, "random_erasing", "area within [0, 1]", (low, high), "Pass shares of the image, (low, high).")
    narrow, tall = interval("random_erasing", "aspect", aspect)
    expect(narrow > 0, "random_erasing", "aspect above 0", (narrow, tall), "Pass height / width, (low, high).")
    noisy = isinstance(fill, str) and fill == "random"
    value = 0.0 if noisy else brightness_of("random_erasing", fill)
    height, width, _ = image.shape

    draw_key, fill_key = jax.random.split(key)
    draws = jax.random.uniform(draw_key, (ATTEMPTS + 2, 2))
    pixels = height * width * (low + (high - low) * draws[:ATTEMPTS, 0])
    root = jnp.exp((math.log(narrow) + math.log(tall / narrow) * draws[:ATTEMPTS, 1]) / 2)
    sides = jnp.round(jnp.stack([jnp.sqrt(pixels) * root, jnp.sqrt(pixels) / root], 1)).astype(jnp.int32)
    fits = (sides < jnp.array([[height, width]])).all(1)
    side = sides[jnp.argmax(fits)]
    room = jnp.array([height, width]) - side
    top, left = (draws[ATTEMPTS] * (room + 1)).astype(jnp.int32)
    hole = _rectangle(image, top, left, *side) & fits.any() & (draws[ATTEMPTS + 1, 0] < p)
    if not noisy:
        return jnp.where(hole, jnp.asarray(value, image.dtype), image)
    noise = random_bits(fill_key, jnp.uint8, image.shape).astype(jnp.float32) / 255
    return jnp.where(hole, noise.astype(image.dtype), image)


@augmentation
def grid_mask(
    key: jax.Array, image: jax.Array, *, period: tuple[int, int], ratio: float = 0.6, fill: float = 0.0
) -> jax.Array:
    """Return the image with a regular grid of squares filled, of random period and place.

        y[i, j] = fill where (i + u) mod d >= l and (j + v) mod d >= l,    l = round(ratio d) in {1, ..., d - 1},
        d uniform on {low, ..., high},    u and v on {0, ..., d - 1}

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        period: the interval (low, high) of the distance of the squares in pixels, low >= 2.
        ratio: the part of a period that is kept along each axis, in (0, 1): (1 - ratio)^2 of the image is filled.
        fill: the value, in [0, 1].

    Returns:
        An image of the same shape and dtype.

    Raises:
        ValueError: period not whole, below 2 or in the wrong order; ratio outside (0, 1); fill outside [0, 1].

    Source:
        Chen et al. 2020 (GridMask), section 3.2, without turning the grid; period (96, 224) on ImageNet.
    """
    interval("grid_mask", "period", period)
    what, fix = "period in whole pixels, at least 2", "Pass the part of a period that is kept."
    low, high = whole_interval("grid_mask", what, period, 2, 2**20)
    ratio = number("grid_mask", "ratio in (0, 1)", ratio, lambda r: 0 < r < 1, fix)
    fill = brightness_of("grid_mask", fill)
    d_draw, *offset_draws = jax.random.uniform(key, (3,))
    d = low + ((high - low + 1) * d_draw).astype(jnp.int32)
    kept = jnp.clip(jnp.round(ratio * d).astype(jnp.int32), 1, d - 1)
    u, v = ((d * draw).astype(jnp.int32) for draw in offset_draws)
    rows = (jnp.arange(image.shape[0])[:, None, None] + u) % d >= kept
    columns = (jnp.arange(image.shape[1])[None, :, None] + v) % d >= kept
    return jnp.where(rows & columns, jnp.asarray(fill, image.dtype), image)


def _rectangle(
    image: jax.Array, top: jax.Array, left: jax.Array, height: jax.Array | int, width: jax.Array | int
) -> jax.Array:
    """Which pixels of the image lie in the rectangle, bool (H, W, 1)."""
    row, column = jnp.arange(image.shape[0])[:, None, None], jnp.arange(image.shape[1])[None, :, None]
    return (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
