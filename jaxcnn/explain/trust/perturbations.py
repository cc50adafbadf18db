"""Ways to change an image a little, or a part of it altogether: what explanations are held against."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, is_int, number, shown

__all__ = ["GaussianNoise", "SquareRemoval"]


@dataclass(frozen=True)
class GaussianNoise:
    """The image with noise: x + scale * epsilon, epsilon normal, drawn for each value.

    Args:
        scale: the noise's standard deviation, > 0; images lie in [0, 1].
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        """Check the scale."""
        what = "scale as a number above 0"
        scale = number("GaussianNoise", what, self.scale, lambda s: 0 < s < math.inf, "Pass 0.1, say.")
        object.__setattr__(self, "scale", scale)

    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Return images (..., H, W, C), each with noise of its own."""
        return x + self.scale * jax.random.normal(key, x.shape, x.dtype)


@dataclass(frozen=True)
class SquareRemoval:
    """The image without a square, which lies anywhere inside of it with equal probability.

    Args:
        size: the square's side in pixels, at most the image's.
        value: what stands there instead, in every channel.

    Source: Yeh et al. 2019, section 3.1 ("square removal").
    """

    size: int = 4
    value: float = 0.0

    def __post_init__(self) -> None:
        """Check both."""
        expect(is_int(self.size, 1), "SquareRemoval", "size as a positive int", shown(self.size), "Pass 4, say.")
        value = number("SquareRemoval", "value as a number", self.value, math.isfinite, "Pass 0.0, say.")
        object.__setattr__(self, "size", int(self.size))
        object.__setattr__(self, "value", value)

    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Return images (..., H, W, C), a square of its own gone from each."""
        *lead, height, width, _ = x.shape
        what, fix = "images of at least the square's size", "Pass a smaller size."
        expect(min(height, width) >= self.size, "SquareRemoval", what, f"{height}x{width}", fix)
        down, right = jax.random.split(key)
        inside = []
        for key, side in ((down, height), (right, width)):
            first = jax.random.randint(key, (*lead, 1), 0, side - self.size + 1)
            places = jnp.arange(side)
            inside.append((first <= places) & (places < first + self.size))
        rows, columns = inside
        return jnp.where((rows[..., :, None] & columns[..., None, :])[..., None], jnp.asarray(self.value, x.dtype), x)
