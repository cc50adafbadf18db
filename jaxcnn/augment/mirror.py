"""Mirror images."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import geometric
from jaxcnn.augment.motion import Motion
from jaxcnn.augment.options import probability

__all__ = ["flip", "vertical_flip"]


@geometric
def flip(key: jax.Array, frame: tuple[int, int], *, p: float = 0.5) -> Motion:
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
    return _mirror("flip", key, frame, 1, p)


@geometric
def vertical_flip(key: jax.Array, frame: tuple[int, int], *, p: float = 0.5) -> Motion:
    """Return the image mirrored top to bottom with probability p, else as it is.

        y[i, j] = x[H - 1 - i, j]

    Args:
        key: a typed key.
        image: floating (H, W, C), or an example.
        p: probability, in [0, 1].

    Returns:
        An image of the same shape and dtype.

    Raises:
        ValueError: p outside [0, 1].

    Source:
        `numpy.flipud`, and torchvision's RandomVerticalFlip.
    """
    return _mirror("vertical_flip", key, frame, 0, p)


def _mirror(where: str, key: jax.Array, frame: tuple[int, int], axis: int, p: float) -> Motion:
    p = probability(where, p, "Pass the probability of mirroring.")
    turned = jax.random.bernoulli(key, p)

    def pixels(array: jax.Array) -> jax.Array:
        return jnp.where(turned, jnp.flip(array, axis), array)

    def points(xy: jax.Array) -> jax.Array:
        place = 1 - axis  # rows are the first axis of an image, and the second coordinate of a point
        return xy.at[:, place].set(jnp.where(turned, frame[axis] - xy[:, place], xy[:, place]))

    return Motion(frame, pixels, pixels, points)
