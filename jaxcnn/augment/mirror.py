"""Mirror images."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import augmentation
from jaxcnn.checking import expect

__all__ = ["flip"]


@augmentation
def flip(key: jax.Array, image: jax.Array, *, p: float = 0.5) -> jax.Array:
    """Return the image mirrored left to right with probability p, else as it is.

        y[i, j] = x[i, W - 1 - j]

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        p: probability, in [0, 1].

    Returns:
        An image of the same shape and dtype.

    Raises:
        ValueError: p outside [0, 1].

    Source:
        `numpy.fliplr`, and torchvision's RandomHorizontalFlip.
    """
    expect(0 <= p <= 1, "flip", "p in [0, 1]", p, "Pass the probability of mirroring.")
    return jnp.where(jax.random.bernoulli(key, float(p)), image[:, ::-1], image)
