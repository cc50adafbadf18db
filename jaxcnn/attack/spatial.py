"""Rotations and shifts that fool a net: the worst of a grid of them, or of a few random ones."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.given import expect_maps, prepared
from jaxcnn.attack.goal import Bounds
from jaxcnn.attack.worst_of_k import worst
from jaxcnn.augment.affine import linear_motion, turn_matrix
from jaxcnn.augment.options import Outside, Padding, outside_of, pixels
from jaxcnn.checking import expect_count, expect_key, number
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of

__all__ = ["spatial", "spatial_random"]

Pair = tuple[jax.Array | float, jax.Array | float]
Shift = float | tuple[float, float]


def spatial(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    max_shift: Shift = 3.0,
    max_angle: float = 30.0,
    shifts: int = 5,
    angles: int = 31,
    padding_mode: Padding = "constant",
    fill: float | None = None,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return each image turned and shifted as the net errs most on it: the worst of a grid of rotations and shifts.

        x'(p) = x(c + R(-angle) (p - c - t)),    c = ((H-1)/2, (W-1)/2),    of the least margin of the net

    Neither is a change of pixels by little, nor does either change what is seen; gradients find the worst badly,
    so all places of a grid are tried, and the image as it is.

    Args:
        logits_fn: images -> logits.
        x: images (..., H, W, C), within the bounds.
        y: their true classes, one for all or one each.
        max_shift: the largest move t along each axis in pixels, at least 0; one number, or (rows, columns).
        max_angle: the largest angle either way, in degrees, at least 0.
        shifts: places along each axis, evenly spaced from -max_shift to max_shift.
        angles: likewise from -max_angle to max_angle. `shifts`^2 `angles` forward passes in all.
        padding_mode: what comes in from outside: "constant" (fill), "reflect" (mirrored about the outermost pixels,
            which are not repeated) or "edge" (the outermost pixels).
        fill: the value outside for "constant", within the bounds: the least unless given.
        target: the classes that are wanted, or None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: places of the grid at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        Images of x's shape, bilinearly interpolated; x itself where nothing is worse.

    Raises:
        ValueError: limits below 0, counts below 1, another padding_mode, a fill out of bounds, images that are no maps
            or out of bounds, classes that are none.
        TypeError: x is not floating.

    Source: Engstrom et al. 2019, section 3 (grid search) with its 5 x 5 x 31 places. `foolbox.attacks.SpatialAttack`
    turns after it has shifted, by (H - 1) / H of the pixels, and gives the first place that fools.
    """
    where = "spatial"
    limits = _limits(where, max_shift, max_angle)
    shifts, angles = expect_count(where, "shifts", shifts), expect_count(where, "angles", angles)
    along = [_evenly(most, count) for most, count in zip(limits, (angles, shifts, shifts), strict=True)]
    grid = np.stack(np.meshgrid(*along, indexing="ij"), -1, dtype=np.float32).reshape(-1, 1, 3)
    moves = lambda images: jnp.broadcast_to(grid, (len(grid), images, 3))  # noqa: E731
    return _attacked(where, moves, logits_fn, x, y, padding_mode, fill, target, bounds, chunk)


def spatial_random(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    max_shift: Shift = 3.0,
    max_angle: float = 30.0,
    samples: int = 10,
    padding_mode: Padding = "constant",
    fill: float | None = None,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return each image turned and shifted as the net errs most on it: the worst of k random rotations and shifts.

    As `spatial`, with angle and t uniform within their limits, drawn for each image.

    Args:
        key: a PRNG key.
        logits_fn, x, y, max_shift, max_angle, padding_mode, fill, target, bounds, chunk: as for `spatial`.
        samples: k, forward passes.

    Returns:
        Images of x's shape.

    Raises:
        ValueError, TypeError: as for `spatial`; no key.

    Source: Engstrom et al. 2019, section 3 (worst-of-k), k = 10.
    """
    where = "spatial_random"
    expect_key(where, key)
    limits = jnp.array(_limits(where, max_shift, max_angle))
    samples = expect_count(where, "samples", samples)
    moves = lambda images: jax.random.uniform(key, (samples, images, 3), minval=-limits, maxval=limits)  # noqa: E731
    return _attacked(where, moves, logits_fn, x, y, padding_mode, fill, target, bounds, chunk)


def _attacked(
    where: str, moves: Callable[[int], jax.Array], logits_fn: Any, x: Any, y: Any, padding_mode: Any, fill: Any,
    target: Any, bounds: Any, chunk: Any,
) -> jax.Array:  # fmt: skip
    logits_fn, x, goal, (low, high) = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    variants = moves(expect_maps(where, x, goal))
    outside_of(where, padding_mode, 0.0, 0)
    fix = "Pass the value of what lies outside of the image."
    fill = low if fill is None else number(where, "fill within the bounds", fill, lambda f: low <= f <= high, fix)
    options = {"padding_mode": padding_mode, "bounds": (low, high), "chunk": chunk_of(where, chunk, x)}
    return _run(logits_fn, x, goal, variants, fill, **options)


@partial(jax.jit, static_argnames=("padding_mode", "bounds", "chunk"))
def _run(
    logits_fn, x: jax.Array, goal, moves: jax.Array, fill, *, padding_mode: Padding, bounds: Bounds, chunk: int
) -> jax.Array:
    frame = x.shape[-3], x.shape[-2]
    centre = (frame[0] - 1) / 2, (frame[1] - 1) / 2

    def change(move: jax.Array, image: jax.Array) -> jax.Array:
        angle, down, right = move
        outside = Outside(padding_mode, fill, 0)
        return linear_motion(frame, turn_matrix(angle), centre, (down, right), outside).pixels(image)

    return worst(logits_fn, x, goal, change, moves, bounds, chunk)


def _limits(where: str, max_shift: Any, max_angle: Any) -> tuple[float, float, float]:
    """Return the largest angle and the largest moves along rows and columns."""
    fix = "It is an angle in degrees, either way."
    angle = number(where, "max_angle of at least 0", max_angle, lambda a: 0 <= a < math.inf, fix)
    return angle, *pixels(where, "max_shift", max_shift)


def _evenly(most: float, count: int) -> np.ndarray:
    """Return `count` numbers from -most to most, evenly spaced; one alone is 0."""
    return (2 * np.arange(count) - (count - 1)) * (most / max(count - 1, 1))
