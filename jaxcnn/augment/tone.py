"""Tone: curves that the values of an image go through, whatever their channel and place."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.blending import blend, factors
from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import interval
from jaxcnn.checking import expect

__all__ = ["brightness", "contrast", "gamma", "solarize", "solarized"]


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
    low, high = factors("contrast", factor)
    f = jax.random.uniform(key, (), jnp.float32, low, high)
    mean = jnp.mean(jnp.mean(image.astype(jnp.float32), 0), 0)  # on CPU twice as fast as over both axes at once
    return blend(image, mean[None, None, :], f)


@augmentation
def gamma(key: jax.Array, image: jax.Array, *, exponent: tuple[float, float]) -> jax.Array:
    """Return the image with its values raised to one random power.

        y = x^g,    g uniform on exponent

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        exponent: the interval (low, high), low > 0: below 1 the image becomes lighter, above 1 darker.

    Returns:
        An image of the same shape and dtype, in [0, 1]. The gradient at black is 0, where that of x^g may be
        infinite.

    Raises:
        ValueError: bounds not finite, not above 0 or in the wrong order.

    Source:
        torchvision's `adjust_gamma` with gain 1, within 1e-5.
    """
    low, high = interval("gamma", "exponent", exponent)
    expect(low > 0, "gamma", "exponent above 0", (low, high), "Pass (low, high), 1 being the image as it is.")
    g = jax.random.uniform(key, (), jnp.float32, low, high)
    x = image.astype(jnp.float32)
    # exp(g log x): x ** g took x3 on CPU. The inner choice keeps the infinite derivative at 0 out of the gradient.
    y = jnp.where(x > 0, jnp.exp(g * jnp.log(jnp.where(x > 0, x, 1))), 0)
    return y.astype(image.dtype)


@augmentation
def solarize(key: jax.Array, image: jax.Array, *, threshold: tuple[float, float]) -> jax.Array:
    """Return the image with the values from a random threshold on inverted.

        y = 1 - x where x >= t, else x,    t uniform on threshold

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        threshold: the interval (low, high) in the image's unit: 0 inverts everything, above 1 nothing.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite, below 0 or in the wrong order.

    Source:
        PIL's `ImageOps.solarize` and torchvision's `solarize`, exactly.
    """
    low, high = interval("solarize", "threshold", threshold)
    expect(low >= 0, "solarize", "threshold of at least 0", (low, high), "Pass (low, high), 1 being white.")
    return solarized(image, jax.random.uniform(key, (), jnp.float32, low, high))


def solarized(image: jax.Array, threshold: jax.Array) -> jax.Array:
    """Return the image with the values from `threshold` on inverted."""
    return jnp.where(image >= threshold, 1 - image, image)
