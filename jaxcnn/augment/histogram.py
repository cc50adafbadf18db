"""Images that use the whole range of values, as their own histograms tell."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.quantization import levels

__all__ = ["autocontrast", "equalize"]


def autocontrast(image: jax.Array) -> jax.Array:
    """Return the image with each channel stretched from its least and greatest value to 0 and 1.

        y = (x - min) / (max - min),    a constant channel as it is

    Agrees with torchvision's `autocontrast` within 1e-6, and with PIL's but for its rounding to 8 bits.
    """
    x = image.astype(jnp.float32)
    least, greatest = (of(of(x, 0), 0, keepdims=True)[None] for of in (jnp.min, jnp.max))
    flat = greatest <= least
    y = (x - jnp.where(flat, 0, least)) / jnp.where(flat, 1, greatest - least)
    return jnp.clip(y, 0, 1).astype(image.dtype)


def equalize(image: jax.Array) -> jax.Array:
    """Return the image with each channel's values, rounded to 8 bits, spread evenly by their ranks.

        y = floor((#{pixels darker} + floor(s / 2)) / s) / 255,    s = floor(#{pixels not of the lightest value} / 255)

    and the channel as it is where s = 0. Agrees exactly with PIL's `ImageOps.equalize` and torchvision's `equalize`.
    """
    values = levels(image)
    equal = jax.vmap(_equalized, in_axes=-1, out_axes=-1)(values)
    return jnp.where(equal == values, image, (equal.astype(jnp.float32) / 255).astype(image.dtype))


def _equalized(values: jax.Array) -> jax.Array:
    count = jnp.zeros(256, jnp.int32).at[values].add(1, mode="promise_in_bounds")
    step = (values.size - count[jnp.max(values)]) // 255
    table = jnp.clip((jnp.cumsum(count) - count + step // 2) // jnp.maximum(step, 1), 0, 255)
    return jnp.where(step == 0, values, table.at[values].get(mode="promise_in_bounds"))
