"""Maps of a layer, enlarged to the size of masks."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.explain.inside.receptive_field import receptive_field
from jaxcnn.layers.layer import Layer

__all__ = ["Centres", "unit_centres", "upsampled_by_centres"]

Centres = tuple[tuple[float, float] | None, tuple[float, float] | None]
"""Of rows and columns: the pixel in the middle of what the first unit sees, and how far it is to the next one's."""


def unit_centres(net: Layer, image: tuple[int, ...], at: str) -> Centres:
    """Return where the units of a layer are in an image (H, W, C); None along axes where all see the whole image."""
    field = receptive_field(net, jax.ShapeDtypeStruct((1, *image), jnp.float32), at)
    if field.size is None or field.stride is None:
        return None, None
    axes = zip((field.rows, field.columns), field.size, field.stride, image, strict=False)
    rows, columns = (_centre(*axis) for axis in axes)
    return rows, columns


def _centre(seen: np.ndarray, size: int, stride: float, pixels: int) -> tuple[float, float] | None:
    """Return the middle of the first unit's field, from one that a border cuts on one side at most."""
    for unit, (first, last) in enumerate(seen.tolist()):
        if first > 0 or last < pixels - 1:
            start = first if first > 0 else last - size + 1
            return start - unit * stride + (size - 1) / 2, stride
    return None


def upsampled_by_centres(maps: jax.Array, size: tuple[int, ...], image: tuple[int, ...], centres: Centres) -> jax.Array:
    """Return maps (..., h, w, units) as (..., H, W, units), bilinear, the outermost values going on to the edge.

    y = a + t (b - a) between neighbours a and b, which is exactly a where b is: a plateau keeps its height.

    Args:
        maps: floating, finite.
        size: (H, W).
        image: (height, width) of the images, in pixels.
        centres: of the units; None spreads them evenly.
    """
    for axis in (0, 1):
        first, weight = _neighbours(maps.shape[axis - 3], size[axis], image[axis], centres[axis])
        maps = _along(maps, axis - 3, first, weight)
    return maps


def _neighbours(units: int, size: int, image: int, centre: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return of each output the unit before it, and how far it is on the way to the next one, in [0, 1]."""
    start, step = centre or (image / units / 2 - 0.5, image / units)
    places = (np.arange(size) + 0.5) * (image / size) - 0.5
    places = np.clip((places - start) / step, 0, units - 1)
    first = np.minimum(np.floor(places).astype(int), max(units - 2, 0))
    return first, (places - first).astype(np.float32)


def _along(maps: jax.Array, axis: int, first: np.ndarray, weight: np.ndarray) -> jax.Array:
    """Return the maps with one axis interpolated."""
    units = maps.shape[axis]
    if units == len(first) and not (first + weight - np.arange(units)).any():
        return maps
    low, high = (jnp.take(maps, np.minimum(first + k, units - 1), axis=axis, mode="clip") for k in (0, 1))
    return low + weight[(slice(None), *(None,) * (-axis - 1))] * (high - low)
