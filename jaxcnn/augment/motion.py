"""Motions of the plane: what a geometric augmentation does to each kind of thing that lies in it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Motion"]

# Of a box (x0, y0, x1, y1): where the x and the y of its four corners stand.
_CORNERS = np.array([[0, 1], [2, 1], [0, 3], [2, 3]])


class Motion(NamedTuple):
    """One drawn motion. Points are (x, y) in pixels; pixel (i, j) covers [j, j + 1] x [i, i + 1].

    Args:
        frame: (height, width) of what the pixels are moved into.
        pixels: moves an image, floating (H, W, C).
        labels: moves a mask, integer (H, W), without mixing labels.
        points: moves points, floating (K, 2), float32 or wider; those outside the frame too.
    """

    frame: tuple[int, int]
    pixels: Callable[[jax.Array], jax.Array]
    labels: Callable[[jax.Array], jax.Array]
    points: Callable[[jax.Array], jax.Array]

    def boxes(self, boxes: jax.Array) -> jax.Array:
        """Return the boxes (K, 4) around the moved corners of `boxes`, cut off at the frame.

        A box of which nothing is left becomes the point of the frame nearest to its upper left corner.
        """
        corners = self.points(boxes[:, _CORNERS].reshape(-1, 2)).reshape(-1, 4, 2)
        end = jnp.array([self.frame[::-1]], corners.dtype)
        low, high = jnp.clip(corners.min(1), 0, end), jnp.clip(corners.max(1), 0, end)
        empty = (high <= low).any(1, keepdims=True)
        return jnp.concatenate([low, jnp.where(empty, low, high)], 1)
