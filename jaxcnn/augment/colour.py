"""Colour: what changes the values of an image and leaves its geometry."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import interval
from jaxcnn.checking import expect

__all__ = ["brightness", "contrast"]


@augmentation
def brightness(key: jax.Array, image: jax.Array, *, delta: float | tuple[float, float]) -> jax.Array:
    """Return the image with one random amount added to all its values.

        y = clip(x + d, 0, 1),    d uniform on delta

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        delta: the interval (low, high) of the amount, in the image's unit (1 is white); one number d stands
            for (-d, d).

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite or in the wrong order.

    Source:
        `random_brightness` of tf.image and dm_pix, clipped; torchvision's ColorJitter multiplies instead.
    """
    low, high = interval("brightness", "delta", delta)
    d = jax.random.uniform(key, (), jnp.float32, low, high)
    return jnp.clip(image.astype(jnp.float32) + d, 0, 1).astype(image.dtype)


@augmentation
def contrast(key: jax.Array, image: jax.Array, *, factor: tuple[float, float]) -> jax.Array:
    """Return the image with the differences from each channel's mean multiplied by one random factor.

        y = clip(mean + f (x - mean), 0, 1),    f uniform on factor

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        factor: the interval (low, high), low >= 0: 0 leaves the mean alone, 1 the image as it is.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite, below 0 or in the wrong order.

    Source:
        `random_contrast` of tf.image and dm_pix, clipped; torchvision's ColorJitter takes the mean of the
        grey image.
    """
    low, high = interval("contrast", "factor", factor)
    expect(
        low >= 0,
        "contrast",
        "factor of at least 0",
        (low, high),
        "Pass (low, high), 1 being the image's own contrast.",
    )
    f = jax.random.uniform(key, (), jnp.float32, low, high)
    x = image.astype(jnp.float32)
    mean = jnp.mean(jnp.mean(x, 0), 0)  # on CPU twice as fast as over both axes at once
    # Not mean + f (x - mean), which rounds at f = 1.
    return jnp.clip(f * x + (1 - f) * mean, 0, 1).astype(image.dtype)
