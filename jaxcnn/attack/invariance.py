"""Shifts and rotations, which change nothing of what an image shows: does the net think so?"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.given import expect_maps, prepared
from jaxcnn.attack.goal import logits
from jaxcnn.augment.affine import linear_motion, turn_matrix
from jaxcnn.augment.options import Outside, Padding, outside_of
from jaxcnn.checking import expect, expect_count, is_int, is_number, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["rotation_accuracy", "shift_accuracy", "shift_consistency"]

AROUND = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])  # down, up, right, left


def shift_accuracy(
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    distances: Sequence[int] = range(9),
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    chunk: int | None = None,
) -> np.ndarray:
    """Return the accuracy on shifted images, by distance: the mean over shifts down, up, to the right and to the left.

    Args:
        logits_fn: images -> logits; of outputs only which is the largest counts.
        x: images, floating (..., H, W, C), in [0, 1].
        y: true classes, one for all or one each.
        distances: whole numbers of pixels.
        padding_mode, fill: what comes in from outside, as in `augment.shift`.
        chunk: shifts at once; as many as are fast unless given.

    Returns:
        (distances,), float32, on the host.

    Raises:
        ValueError: distances that are not whole, no images or some outside [0, 1], classes that are none.
    """
    where = "shift_accuracy"
    ok = isinstance(distances, Sequence | np.ndarray) and len(distances) > 0 and all(map(is_int, distances))
    expect(ok, where, "distances in whole pixels", shown(distances), "Pass range(9), say.")
    moves = (np.asarray(distances)[:, None, None] * AROUND).reshape(-1, 2)
    right = _right(where, logits_fn, x, y, np.zeros(len(moves)), moves, (padding_mode, fill), chunk)
    return right.reshape(len(distances), -1).mean(1, dtype=np.float32)


def rotation_accuracy(
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    degrees: Sequence[float] = range(-180, 181, 15),
    padding_mode: Padding = "constant",
    fill: float = 0.0,
    chunk: int | None = None,
) -> np.ndarray:
    """Return the accuracy on images turned about their centre, by angle.

    Args:
        logits_fn, x, y: as for `shift_accuracy`.
        degrees: angles; positive ones turn counter-clockwise, bilinearly interpolated, as `augment.rotate`.
        padding_mode, fill: what comes in from outside.
        chunk: angles at once; as many as are fast unless given.

    Returns:
        (degrees,), float32, on the host.

    Raises:
        ValueError: degrees that are not finite numbers, no images or some outside [0, 1], classes that are none.
    """
    where = "rotation_accuracy"
    ok = isinstance(degrees, Sequence | np.ndarray) and len(degrees) > 0
    ok = ok and all(is_number(angle) and math.isfinite(angle) for angle in degrees)
    expect(ok, where, "degrees as finite numbers", shown(degrees), "Pass range(-180, 181, 15), say.")
    angles = np.asarray(degrees, np.float64)
    right = _right(where, logits_fn, x, y, angles, np.zeros((len(angles), 2)), (padding_mode, fill), chunk)
    return right.reshape(len(angles), -1).mean(1, dtype=np.float32)


def shift_consistency(
    logits_fn: LogitsFn,
    x: Any,
    *,
    distance: int = 1,
    padding_mode: Padding = "edge",
    fill: float = 0.0,
    chunk: int | None = None,
) -> float:
    """Return how often the net gives an image and the same image shifted the same class: 1 for an invariant net.

    The mean over images and shifts down, up, to the right and to the left. Whether it is the right class is not asked.

    Args:
        logits_fn, x: as for `shift_accuracy`.
        distance: in pixels, at least 1.
        padding_mode, fill: what comes in from outside.
        chunk: shifts at once; as many as are fast unless given.

    Returns:
        A fraction.

    Raises:
        ValueError: a distance that is no positive int, no images or some outside [0, 1].

    Source: Zhang 2019, "Making convolutional networks shift-invariant again", section 4 (classification
    consistency), where both images are shifted at random; here one stays, and the other is moved as little as can be.
    """
    where = "shift_consistency"
    moves = np.concatenate([np.zeros((1, 2)), expect_count(where, "distance", distance) * AROUND])
    found = _classes(where, logits_fn, x, 0, np.zeros(5), moves, (padding_mode, fill), chunk)[0]
    return float(((found[1:] == found[:1]) & (found[:1] >= 0)).mean())  # lost logits are of no class


def _right(where: str, logits_fn: LogitsFn, x: Any, y: Any, *motions: Any) -> np.ndarray:
    """Return where the net is right, bool (motions, ...)."""
    found, label = _classes(where, logits_fn, x, y, *motions)
    return found == label


def _classes(
    where: str,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    degrees: np.ndarray,
    moves: np.ndarray,
    outside: tuple[Any, float],
    chunk: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that the net gives images under each motion, (motions, ...), and the true ones (...)."""
    beyond = outside_of(where, *outside, 0)
    logits_fn, x, goal, _ = prepared(where, logits_fn, x, y, decision=True)
    count = expect_maps(where, x, goal)
    expect(count > 0, where, "at least one image", f"shape {x.shape}", "Pass images (N, H, W, C).")
    motions = jnp.asarray(degrees, jnp.float32), jnp.asarray(moves, jnp.float32)
    found = _run(logits_fn, x, motions, outside=beyond, chunk=chunk_of(where, chunk, x))
    return np.asarray(found), np.asarray(goal.label)


@functools.partial(jax.jit, static_argnames=("outside", "chunk"))
def _run(logits_fn: LogitsFn, x: jax.Array, motions: Any, *, outside: Outside, chunk: int) -> jax.Array:
    height, width = x.shape[-3:-1]
    centre = (height - 1) / 2, (width - 1) / 2

    def seen(motion: tuple[jax.Array, jax.Array]) -> jax.Array:
        angle, (down, right) = motion
        moved = linear_motion((height, width), turn_matrix(angle), centre, (down, right), outside).pixels
        images = jax.vmap(moved)(x.reshape(-1, *x.shape[-3:])).reshape(x.shape)
        found = logits(logits_fn, images)
        return jnp.where(jnp.isnan(found).any(-1), -1, found.argmax(-1))

    return over_variants(seen, motions, chunk)
