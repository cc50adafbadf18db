"""What values arrays may have: finite ones, and those of pixels from 0 to 1."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect

__all__ = ["expect_finite", "expect_pixels"]


def expect_finite(where: str, name: str, values: jax.Array) -> jax.Array:
    """Return the values; raise `ValueError` if they are known and not all finite."""
    if not isinstance(values, jax.core.Tracer):
        lost = int(_lost(values))
        fix = "Look at the net's weights, and at the images."
        expect(lost == 0, where, f"finite values in {name}", f"{lost} that are not", fix)
    return values


def expect_pixels(where: str, name: str, images: Any) -> None:
    """Raise `ValueError` if floating images that are known have a value that is not in [0, 1]."""
    if isinstance(images, jax.core.Tracer) or not jnp.issubdtype(images.dtype, jnp.floating) or images.size == 0:
        return
    low, high = float(images.min()), float(images.max())
    fix = "Divide 0..255 by 255; any other normalisation is a layer of the net."
    expect(low >= 0 and high <= 1, where, f"{name} in [0, 1]", f"values from {low:g} to {high:g}", fix)


@jax.jit
def _lost(values: jax.Array) -> jax.Array:
    return (~jnp.isfinite(values)).sum()
