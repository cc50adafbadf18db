"""What the measures of trust agree on: one number a pixel, and an order of pixels."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating
from jaxcnn.explain.values import expect_finite

__all__ = ["expect_images", "pixel_map", "rank_of_pixels"]


def expect_images(where: str, x: jax.Array | jax.ShapeDtypeStruct) -> None:
    """Raise `ValueError` unless x has pixels: axes (..., H, W, C)."""
    expect(x.ndim >= 3, where, "images or maps (..., H, W, C)", f"x of shape {x.shape}", "Look at a layer with a map.")


def pixel_map(where: str, attribution: Any, x: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    """Return the attribution of each pixel, (..., H, W), summed over channels; raise an error unless it fits x."""
    expect_images(where, x)
    attribution = floating(where, "attribution", attribution)
    shapes = (x.shape, x.shape[:-1], (*x.shape[:-1], 1))
    fix = "Enlarge smaller maps first: explain.grad_cam(..., upsample=True), say."
    what = f"an attribution of shape {x.shape} or {x.shape[:-1]}"
    expect(attribution.shape in shapes, where, what, attribution.shape, fix)
    expect_finite(where, "attribution", attribution)
    return attribution if attribution.ndim < x.ndim else attribution.sum(axis=-1)


def rank_of_pixels(maps: jax.Array) -> jax.Array:
    """Return the place of each pixel of (..., H, W) in the order from the largest on, 0 first, int32.

    Of equal ones the first in reading order comes first.
    """
    flat = maps.reshape(*maps.shape[:-2], -1)
    order = jnp.argsort(flat, axis=-1, stable=True, descending=True)
    return jnp.argsort(order, axis=-1).astype(jnp.int32).reshape(maps.shape)
