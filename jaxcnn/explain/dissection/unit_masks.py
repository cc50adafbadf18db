"""Where units are on, as masks of the images."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_int, shaped, shown
from jaxcnn.explain.dissection.image_set import batches, expect_finite_images, expect_images, expect_maps, unit_maps
from jaxcnn.explain.dissection.upsampling import Centres, unit_centres, upsampled_by_centres
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["unit_masks"]


def unit_masks(
    net: Layer,
    params: Params,
    state: State,
    images: Any,
    *,
    at: str,
    thresholds: Any,
    units: Sequence[int] | np.ndarray | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Return where units of a layer are on, at the images' size: what `dissect` compares with concepts.

    Args:
        net, params, state, images, at, batch_size: as for `dissect`.
        thresholds: (units of the layer,), a `Dissection`'s.
        units: which of them; all unless given.

    Returns:
        bool (N, H, W, units).

    Raises:
        ValueError, TypeError: as `dissect`; units that the layer has not.

    Source: Bau et al. 2017, section 2.3.
    """
    where = "unit_masks"
    images = expect_images(where, images)
    count = expect_maps(where, net, params, state, images, at)[-1]
    thresholds = shaped(where, "thresholds", thresholds, (count,))
    units = np.arange(count) if units is None else np.asarray(units)
    ok = units.ndim == 1 and units.size > 0 and all(is_int(unit, 0, count - 1) for unit in units)
    expect(ok, where, f"units in 0..{count - 1}", shown(units), "Pass units=[3, 17], say.")
    centres, parts = unit_centres(net, images.shape[1:], at), []
    for rows, real in batches(where, len(images), batch_size):
        on, finite = _masks(net, at, centres, params, state, images[rows], thresholds, units)
        expect_finite_images(where, finite, rows, at)
        parts.append(np.asarray(on)[real])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnames=("net", "at", "centres"))
def _masks(
    net: Layer,
    at: str,
    centres: Centres,
    params: Params,
    state: State,
    images: jax.Array,
    thresholds: jax.Array,
    units: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    maps, finite = unit_maps(net, params, state, images, at)
    size = images.shape[1:3]
    return upsampled_by_centres(maps[..., units], size, size, centres) >= jnp.asarray(thresholds, jnp.float32)[
        units
    ], finite
