"""Colour: what changes the channels of a pixel against each other."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.blending import blend, factors
from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import interval, probability
from jaxcnn.checking import expect

__all__ = ["channel_shuffle", "expect_colours", "grayscale", "hue", "luma", "saturation"]


@augmentation
def saturation(key: jax.Array, image: jax.Array, *, factor: tuple[float, float]) -> jax.Array:
    """Return the image with the differences from its grey version multiplied by one random factor.

        y = clip(L + f (x - L), 0, 1),    L = 0.299 R + 0.587 G + 0.114 B,    f uniform on factor

    Args:
        key: a typed key.
        image: floating (H, W, 3) in [0, 1], or an example; a grey one (H, W, 1) stays as it is.
        factor: the interval (low, high), low >= 0: 0 leaves the grey image, 1 the image as it is.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite, below 0 or in the wrong order; neither 1 nor 3 channels.

    Source:
        PIL's `ImageEnhance.Color`, but for its rounding to 8 bits, and torchvision's `adjust_saturation`, within
        1e-3 (its weights are rounded to 0.2989, 0.587 and 0.114).
    """
    low, high = factors("saturation", factor)
    expect_colours("saturation", image)
    return blend(image, luma(image), jax.random.uniform(key, (), jnp.float32, low, high))


@augmentation
def hue(key: jax.Array, image: jax.Array, *, delta: float | tuple[float, float]) -> jax.Array:
    """Return the image with the hues of all pixels turned by one random angle, saturation and value kept.

        h -> h + d modulo 1 in (hue, saturation, value),    d uniform on delta

    Args:
        key: a typed key.
        image: floating (H, W, 3) in [0, 1], or an example; a grey one (H, W, 1) stays as it is.
        delta: the interval (low, high) of the angle, in turns within [-0.5, 0.5]; one number d stands for
            (-d, d). A third of a turn makes red green.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite, in the wrong order or beyond half a turn; neither 1 nor 3 channels.

    Source:
        torchvision's `adjust_hue`, within 1e-5, and the HSV cone of Python's `colorsys`; on PIL images
        torchvision rounds hues to 256 steps.
    """
    low, high = interval("hue", "delta", delta)
    ok = low >= -0.5 and high <= 0.5
    expect(ok, "hue", "delta within [-0.5, 0.5]", (low, high), "Pass turns: degrees divided by 360.")
    expect_colours("hue", image)
    if image.shape[-1] == 1:
        return image
    d = jax.random.uniform(key, (), jnp.float32, low, high)
    red, green, blue = jnp.moveaxis(image.astype(jnp.float32), -1, 0)
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # The hue in sixths of a turn: the greatest channel's place, and how the others lie to its sides.
    side = jnp.select([value == red, value == green], [green - blue, blue - red], red - green)
    sector = jnp.select([value == red, value == green], [0.0, 2.0], 4.0) + side / jnp.where(chroma > 0, chroma, 1)
    # Around the circle a channel is the value for two sixths, falls for one, is the least for two and rises.
    place = sector[..., None] + 6 * d + jnp.array([[[5.0, 3.0, 1.0]]])
    place -= 6 * jnp.floor(place / 6)  # the operator % took x20 on CPU
    fall = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return jnp.clip(value[..., None] - chroma[..., None] * fall, 0, 1).astype(image.dtype)


@augmentation
def grayscale(key: jax.Array, image: jax.Array, *, p: float = 0.1) -> jax.Array:
    """Return the image without colour with probability p, else as it is.

        y = L in all channels,    L = 0.299 R + 0.587 G + 0.114 B

    Args:
        key: a typed key.
        image: floating (H, W, 3) in [0, 1], or an example; a grey one (H, W, 1) stays as it is.
        p: probability, in [0, 1].

    Returns:
        An image of the same shape (three equal channels) and dtype.

    Raises:
        ValueError: p outside [0, 1]; neither 1 nor 3 channels.

    Source:
        ITU-R BT.601, as PIL's `convert("L")`, but for its rounding to 8 bits; torchvision's RandomGrayscale, within
        2e-4 (its weights are rounded to 0.2989, 0.587 and 0.114).
    """
    p = probability("grayscale", p, "Pass the probability of losing the colours.")
    expect_colours("grayscale", image)
    grey = jnp.clip(luma(image), 0, 1).astype(image.dtype)
    return jnp.where(jax.random.bernoulli(key, p), grey, image)


@augmentation
def channel_shuffle(key: jax.Array, image: jax.Array) -> jax.Array:
    """Return the image with its channels in a random order, all orders equally likely.

        y[i, j, c] = x[i, j, order[c]]

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.

    Returns:
        An image of the same shape and dtype.

    Source:
        torchvision's RandomChannelPermutation.
    """
    return image[:, :, jax.random.permutation(key, image.shape[-1])]


def luma(image: jax.Array) -> jax.Array:
    """Return the grey image (H, W, 1), float32, of an image of 1 or 3 channels."""
    x = image.astype(jnp.float32)
    return x if x.shape[-1] == 1 else 0.299 * x[..., :1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:]


def expect_colours(where: str, image: jax.Array) -> None:
    """Raise `ValueError` unless the image is grey or has the channels red, green and blue."""
    ok = image.shape[-1] in (1, 3)
    expect(ok, where, "an image of 1 or 3 channels", image.shape, "Pass grey (H, W, 1) or RGB (H, W, 3) images.")
