"""Does the map lie where the object is? For images whose true region is known."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import array, expect, expect_choice, is_number, number, shown
from jaxcnn.explain.trust.pixels import pixel_map, rank_of_pixels

__all__ = ["energy_inside", "mask_iou", "pointing_game"]


def pointing_game(attribution: jax.Array, mask: jax.Array | np.ndarray, *, tolerance: float = 0.0) -> jax.Array:
    """Return whether the map's largest value lies in the mask, or at most `tolerance` pixels away from it.

    Args:
        attribution: (..., H, W), or (..., H, W, C), whose channels are summed. Of equal values the first counts.
        mask: (..., H, W), bool, or integers that are 0 outside.
        tolerance: pixels, >= 0.

    Returns:
        bool (...). False where the mask is empty.

    Raises:
        ValueError: a map that does not fit the mask, or with values that are not finite; a negative tolerance.
        TypeError: a map that is not floating, a mask of neither bools nor integers.

    Source: Zhang, Lin, Brandt, Shen, Sclaroff 2018, section 4.2, with 15 pixels at 224 x 224.
    """
    maps, mask = _both("pointing_game", attribution, mask)
    tolerance = number("pointing_game", "a tolerance of at least 0", tolerance, lambda t: t >= 0, "Pass pixels.")
    return _hit(maps, mask, tolerance)


def mask_iou(attribution: jax.Array, mask: jax.Array | np.ndarray, *, at: float | str = "best") -> jax.Array:
    """Return the overlap of the mask and the pixels where the map is largest: intersection over union, 0 to 1.

    Args:
        attribution, mask: as for `pointing_game`.
        at: a quantile in (0, 1): the pixels above it are taken, of 0.9 a tenth; or "best": as many as give the
            largest overlap, chosen for each image.

    Returns:
        (...), floating. 0 where the mask is empty.

    Raises:
        ValueError: a map that does not fit the mask, or with values that are not finite; a quantile out of range.
        TypeError: as `pointing_game`.

    Source: as localization is measured since Zhou et al. 2016 (CAM); "best" is the MaxBoxAcc of Choe et al. 2020 with
    the exact mask in the place of a box.
    """
    maps, mask = _both("mask_iou", attribution, mask)
    if isinstance(at, str):
        expect_choice("mask_iou", 'at as a quantile or "best"', at, ("best",))
    else:
        ok = is_number(at) and 0 < at < 1
        expect(ok, "mask_iou", 'at as a quantile between 0 and 1, or "best"', shown(at), "Pass 0.9, say.")
    return _iou(maps, mask, at if isinstance(at, str) else float(at))


def energy_inside(attribution: jax.Array, mask: jax.Array | np.ndarray) -> jax.Array:
    """Return the share of the positive attribution that lies in the mask, 0 to 1.

        sum_mask max(a, 0) / sum max(a, 0)

    Args:
        attribution, mask: as for `pointing_game`.

    Returns:
        (...), floating. 0 where nothing is positive.

    Raises:
        ValueError: a map that does not fit the mask, or with values that are not finite.
        TypeError: as `pointing_game`.

    Source: Wang et al. 2020 (Score-CAM), section 4.3, with the exact mask in the place of a box.
    """
    return _energy(*_both("energy_inside", attribution, mask))


def _both(where: str, attribution: Any, mask: Any) -> tuple[jax.Array, jax.Array]:
    mask = array(where, "mask", mask)
    known = mask.dtype == jnp.bool or jnp.issubdtype(mask.dtype, jnp.integer)
    expect(known, where, "a mask of bools or integers", mask.dtype, "Pass mask > 0.5, say.", TypeError)
    expect(mask.ndim >= 2, where, "a mask (..., H, W)", mask.shape, "Pass one that counts for each pixel.")
    a = array(where, "attribution", attribution)
    channels = a.shape[-1:] if a.ndim > mask.ndim else (1,)
    return pixel_map(where, attribution, jax.ShapeDtypeStruct((*mask.shape, *channels), jnp.float32)), mask != 0


@partial(jax.jit, static_argnames="tolerance")
def _hit(maps: jax.Array, mask: jax.Array, tolerance: float) -> jax.Array:
    height, width = maps.shape[-2:]
    at = maps.reshape(*maps.shape[:-2], -1).argmax(axis=-1)[..., None, None]
    down, right = jnp.arange(height)[:, None] - at // width, jnp.arange(width) - at % width
    return (mask & (down**2 + right**2 <= tolerance**2)).any(axis=(-2, -1))


@partial(jax.jit, static_argnames="at")
def _iou(maps: jax.Array, mask: jax.Array, at: float | str) -> jax.Array:
    pixels = maps.shape[-1] * maps.shape[-2]
    rank = rank_of_pixels(maps).reshape(*maps.shape[:-2], pixels)
    flat = mask.reshape(rank.shape)
    taken = jnp.arange(1, pixels + 1)
    inside = jnp.cumsum(jnp.take_along_axis(flat, jnp.argsort(rank, axis=-1), axis=-1), axis=-1)  # of the first taken
    overlap = inside / (taken + flat.sum(axis=-1, keepdims=True) - inside)
    return overlap.max(axis=-1) if isinstance(at, str) else overlap[..., max(round((1 - at) * pixels), 1) - 1]


@jax.jit
def _energy(maps: jax.Array, mask: jax.Array) -> jax.Array:
    positive = jnp.maximum(maps, 0)
    total = positive.sum(axis=(-2, -1))
    return (positive * mask).sum(axis=(-2, -1)) / jnp.where(total > 0, total, 1)
