"""What a unit looks for: the images that excite it most, and where in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, is_int, shown
from jaxcnn.explain.inside.activations import Images, by_batch, layer_shape, size_of
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["TopImages", "top_images"]


class TopImages(NamedTuple):
    """Of each of some units the images that excite it most, the first the most.

    `units` (U,): their channels. `index` (U, count): numbers of images in the set. `position` (U, count, 2): row and
    column on the layer's map. `value` (U, count): the activations there.
    """

    units: np.ndarray
    index: np.ndarray
    position: np.ndarray
    value: np.ndarray


def top_images(
    net: Layer,
    params: Params,
    state: State,
    images: Images,
    at: str,
    *,
    units: Sequence[int] | None = None,
    count: int = 9,
    batch_size: int = 256,
) -> TopImages:
    """Return the images that excite each unit of a layer most, by the largest activation in each, in one pass.

    A unit is a channel; what counts for an image is max over i, j of a[i, j, unit]. Of equal images the first in the
    set comes first, of equal positions the first in row-major order. `patches` cuts out what the unit sees there.

    Args:
        net, params, state: the trained net.
        images: (N, H, W, C), uint8 or floating in [0, 1], a `Dataset` or a `Stream`.
        at: the path of a layer, at any depth.
        units: channels of that layer; all of them unless given.
        count: images of each, at most N.
        batch_size: images at once.

    Returns:
        A `TopImages`.

    Raises:
        ValueError: an unknown path, images out of [0, 1], units that the layer does not have, more images than there
            are, activations that are not finite.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.1.
    """
    where = "top_images"
    _, width, channels = layer_shape(where, net, params, state, images, at)
    size = size_of(where, images)
    count = expect_count(where, "count", count, most=size)
    if units is None:
        units = range(channels)
    ok = isinstance(units, Sequence | np.ndarray) and len(units) > 0 and all(is_int(u, 0, channels - 1) for u in units)
    expect(ok, where, f"units from 0 to {channels - 1}", shown(units), "Pass units=[0, 3], say.")
    chosen = tuple(int(unit) for unit in units)
    read = _Best(chosen, count)
    value = np.full((len(chosen), 0), -np.inf, np.float32)
    index = place = np.zeros((len(chosen), 0), np.int64)
    start = 0
    for found in by_batch(where, net, params, state, images, at, read, batch_size):
        value = np.concatenate([value, found["value"]], axis=1)
        index = np.concatenate([index, start + found["row"]], axis=1)
        place = np.concatenate([place, found["place"]], axis=1)
        order = np.argsort(-value, axis=1, kind="stable")[:, :count]
        value, index, place = (np.take_along_axis(held, order, axis=1) for held in (value, index, place))
        start += int(found["rows"])
    position = np.stack(np.divmod(place, width), axis=-1)
    return TopImages(np.asarray(chosen), index, position, value)


@dataclass(frozen=True)
class _Best:
    """The best rows of a batch; a row that does not count is worse than all others."""

    units: tuple[int, ...]
    count: int

    def __call__(self, inside: jax.Array, mask: jax.Array) -> dict[str, Any]:
        inside = inside[..., np.asarray(self.units)]
        best = jnp.where(mask[:, None], inside.max(axis=1), -jnp.inf)
        value, row = jax.lax.top_k(best.T, min(self.count, len(inside)))
        place = jnp.take_along_axis(inside.argmax(axis=1).T, row, axis=1)
        return {"value": value, "row": row, "place": place, "rows": jnp.asarray(len(inside))}
