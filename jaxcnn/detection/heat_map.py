"""The heat maps that a detector of centres is to give: a peak at the centre of each object.

Source: Zhou, Wang, Kraehenbuehl, "Objects as points", 2019, section 3.
"""

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, floating, integral, is_int, shown
from jaxcnn.models.centernet import BESIDE

__all__ = ["BESIDE", "centre_and_size", "heat_map"]

OVERLAP = 0.7  # of a box that is shifted within the peak and the true one: the radius of the peaks


def heat_map(boxes: jax.Array, box_class: jax.Array, *, shape: tuple[int, int], classes: int, stride: int) -> jax.Array:
    """Return the heat maps that a net is to give for one image: a Gaussian at the centre of each object.

    The maximum over the objects of a class of exp(-|p - c|^2 / (2 s^2)), c the cell of the centre, s a third of the
    radius within which shifted boxes overlap the true one by 0.7 or more.

    Args:
        boxes: floating (K, 4), in pixels.
        box_class: integers (K,), -1 for no object.
        shape: rows and columns of the map.
        classes: how many there are.
        stride: pixels of the image a cell is wide.

    Returns:
        (h, w, classes) float32, in [0, 1], 1 at the cells of centres.

    Raises:
        TypeError: boxes that are not floating, classes that are not integers.
        ValueError: other shapes, a count that is not positive.

    Source: section 3; the radius as in Law & Deng 2018, section 3.2.
    """
    where = "heat_map"
    boxes = floating(where, "boxes", boxes)
    box_class = integral(where, "box_class", box_class, "Number the classes from 0; -1 is for no object.")
    ok = boxes.ndim == 2 and boxes.shape[1] == 4 and box_class.shape == boxes.shape[:1]
    got = f"{boxes.shape} and {box_class.shape}"
    expect(ok, where, "boxes (K, 4) and box_class (K,) of one image", got, "jax.vmap it over images.")
    ok = isinstance(shape, tuple | list) and len(shape) == 2 and all(is_int(side, 1) for side in shape)
    expect(ok, where, "shape as (rows, columns)", shown(shape), "Pass shape=outputs.shape[1:3], say.")
    classes, stride = expect_count(where, "classes", classes), expect_count(where, "stride", stride)
    cell, size = centre_and_size(boxes.astype(jnp.promote_types(boxes.dtype, jnp.float32)), stride)
    sigma = _radius(size / stride) / 3 + 1e-6
    rows, columns = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])
    down, right = jnp.floor(cell[:, 1]), jnp.floor(cell[:, 0])
    far = (rows - down[:, None, None]) ** 2 + (columns - right[:, None, None]) ** 2
    peaks = jnp.exp(-far / (2 * sigma[:, None, None] ** 2))
    own = box_class[:, None] == jnp.arange(classes)
    return jnp.max(jnp.where(own[:, None, None, :], peaks[..., None], 0), 0, initial=0)


def centre_and_size(boxes: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    """Return the centres (K, 2) of boxes in cells, and their widths and heights in pixels."""
    return (boxes[:, :2] + boxes[:, 2:]) / (2 * stride), boxes[:, 2:] - boxes[:, :2]


def _radius(size: jax.Array) -> jax.Array:
    """Return how far both corners of a box (..., 2) may move, in cells, so that it overlaps the true one by OVERLAP.

    The least of three: both corners inwards, both outwards, or both the same way.
    """
    width, height = size[..., 0], size[..., 1]
    total, product = width + height, width * height

    def root(a: float, b: jax.Array, c: jax.Array) -> jax.Array:
        """The smallest positive root of a r^2 + b r + c, c > 0."""
        return (-b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0))) / (2 * a)

    same_way = root(1, -total, product * (1 - OVERLAP) / (1 + OVERLAP))
    inwards = root(4, -2 * total, (1 - OVERLAP) * product)
    outwards = root(-4 * OVERLAP, -2 * OVERLAP * total, (1 - OVERLAP) * product)
    return jnp.maximum(jnp.minimum(jnp.minimum(same_way, inwards), outwards), 0)
