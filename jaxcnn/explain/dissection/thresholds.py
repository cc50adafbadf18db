"""What each unit of a layer exceeds in few places alone: its threshold."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import number
from jaxcnn.explain.dissection.image_set import batches, expect_finite_images, expect_images, expect_maps, unit_maps
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["unit_thresholds"]


def unit_thresholds(
    net: Layer, params: Params, state: State, images: Any, *, at: str, quantile: float = 0.005, batch_size: int = 32
) -> np.ndarray:
    """Return the activation that each unit of a layer exceeds in a given share of all places of all images.

        P(a > T) = quantile, over places and images: T = numpy.quantile(a, 1 - quantile)

    Exact, in one pass, whatever the size of the set: of each unit the largest activations are kept while it streams
    by, which takes the memory of twice that share of all activations, or of two batches.

    A unit that is at its lowest value in more than 1 - quantile of all places (behind a ReLU, one that is nearly
    always 0) has no such T above it; its threshold is the smallest value above the lowest. That of a unit that has one
    value alone is infinite: it is never on.

    Args:
        net, params, state: the trained net, which is applied with `train=False`.
        images: (N, H, W, C), uint8, or floating in [0, 1], or a `Dataset`.
        at: the path of a layer with a map, at any depth.
        quantile: the share of places, in (0, 1).
        batch_size: images at once.

    Returns:
        float32 (units,); a unit is on where its activation is at least that.

    Raises:
        ValueError: a layer without a map, images or a quantile out of range, activations that are not finite.
        TypeError: images of another dtype, arrays traced under `jit`.

    Source: Bau et al. 2017, section 2.3; 0.005 is theirs.
    """
    where = "unit_thresholds"
    images = expect_images(where, images)
    high, wide, units = expect_maps(where, net, params, state, images, at)
    fix = "The paper's is 0.005."
    share = number(where, "quantile in (0, 1)", quantile, lambda q: 0 < q < 1, fix)
    place = (len(images) * high * wide - 1) * share  # of the threshold, counted from the largest activation

    def values() -> Iterable[np.ndarray]:
        for rows, real in batches(where, len(images), batch_size):
            found, finite = _values(net, at, params, state, images[rows])
            expect_finite_images(where, finite, rows, at)
            yield np.asarray(found)[:, real].reshape(units, -1)

    largest, lowest = _largest(values(), int(place) + 2)
    before, after = (largest[:, min(k, largest.shape[1] - 1)].astype(np.float64) for k in (int(place), int(place) + 1))
    threshold = before + (place - int(place)) * (after - before)
    above = np.where(largest > lowest[:, None], largest, np.inf).min(axis=1)
    return np.where(threshold > lowest, threshold, above).astype(np.float32)


def _largest(parts: Iterable[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest `count` entries of each row of all parts together, falling, and each row's lowest."""
    held, waiting, lows = [], 0, []
    for part in parts:
        held.append(part)
        lows.append(part.min(axis=1))
        waiting += part.shape[1]
        if waiting >= 2 * count:
            held, waiting = [_top(held, count)], count
    return -np.sort(-_top(held, count), axis=1), np.min(lows, axis=0)


def _top(parts: list[np.ndarray], count: int) -> np.ndarray:
    every = np.concatenate(parts, axis=1)
    return np.partition(every, -count, axis=1)[:, -count:] if every.shape[1] > count else every


@functools.partial(jax.jit, static_argnames=("net", "at"))
def _values(net: Layer, at: str, params: Params, state: State, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the activations of each unit, (units, N, h, w), and of each image whether they are finite."""
    maps, finite = unit_maps(net, params, state, images, at)
    return jnp.moveaxis(maps, -1, 0), finite
