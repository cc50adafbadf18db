"""Larger images of the same, without parameters."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_size
from jaxcnn.functional.window import Size, pair, some_pixels

__all__ = ["upsample"]


def upsample(x: jax.Array, *, factor: Size = 2) -> jax.Array:
    """Return images enlarged by bilinear interpolation between the centres of pixels.

    y[i, j] = x at ((i + 1/2) / factor - 1/2, (j + 1/2) / factor - 1/2), the outermost pixels continued outwards.

    Args:
        x: images (..., H, W, C), or one (H, W, C), floating; computed in float32 or wider. Rows and columns are
            weighted in matrix products, so that what is not finite spreads over its image.
        factor: how many times as high and wide they become, one int or (vertical, horizontal).

    Returns:
        (..., factor H, factor W, C) of x's dtype.

    Raises:
        ValueError: wrong rank, no pixel, a factor that is no positive int.
        TypeError: x is not floating.

    Source: agrees with `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    """
    x = some_pixels("upsample", x)
    down, across = pair("upsample", "factor", factor)
    *lead, height, width, channels = x.shape
    shape = (*lead, height * down, width * across, channels)
    expect_size("upsample", "images", shape, "Enlarge less.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jax.image.resize(wide, shape, "linear", antialias=False).astype(x.dtype)
