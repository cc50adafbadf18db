"""A set of images, batch by batch, and what a layer gives for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, shown
from jaxcnn.data.dataset import to_float
from jaxcnn.explain.inner import expect_map, expect_trained
from jaxcnn.explain.values import expect_pixels
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations

__all__ = [
    "batches",
    "expect_finite_images",
    "expect_images",
    "expect_known",
    "expect_layer",
    "expect_maps",
    "unit_maps",
]


def batches(where: str, count: int, batch_size: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of the images of each batch, and which of them count: the last batch repeats an image."""
    size = min(expect_count(where, "batch_size", batch_size), count)
    for start in range(0, count, size):
        places = start + np.arange(size)
        yield np.minimum(places, count - 1), places < count


def expect_images(where: str, images: Any) -> np.ndarray:
    """Return images, or those of a data set, on the host; raise an error unless they are uint8, or floats in [0, 1]."""
    if isinstance(images, Mapping) and "image" in images:
        images = images["image"]
    expect_known(where, images)
    images = np.asarray(images)
    fix = "Pass images (N, height, width, channels), or a data set in memory."
    expect(images.ndim == 4 and images.size > 0, where, "images (N, H, W, C)", shown(images), fix)
    known = images.dtype == np.uint8 or jnp.issubdtype(images.dtype, jnp.floating)
    expect(known, where, "uint8 or floating images", images.dtype, "Convert them first.", TypeError)
    expect_pixels(where, "images", images)
    return images


def expect_maps(where: str, net: Layer, params: Params, state: State, images: np.ndarray, at: Any) -> tuple[int, ...]:
    """Return (h, w, units) of a layer; raise an error unless net and weights are some and it gives a map."""
    return expect_map(where, net, params, state, _spec(where, net, params, state, images, at), at)[1:]


def expect_layer(
    where: str, net: Layer, params: Params, state: State, images: np.ndarray, at: Any
) -> tuple[tuple[int, ...], Any]:
    """Return the shape of a layer's output for one image, and the net's outputs; raise an error as `expect_maps`."""
    spec = _spec(where, net, params, state, images, at)
    outputs, found = jax.eval_shape(lambda p, s, x: activations(net, p, s, x, [at]), params, state, spec)
    return found[at].shape[1:], outputs


def expect_known(where: str, tree: Any) -> None:
    """Raise `TypeError` if an array is traced: sets are walked through on the host."""
    traced = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.core.Tracer)]
    expect(not traced, where, "arrays that are known", shown(traced), "Call it outside of jax.jit.", TypeError)


def expect_finite_images(where: str, finite: Any, rows: np.ndarray, at: str) -> None:
    """Raise `ValueError` unless a layer's values are finite for every image of a batch."""
    wrong = rows[~np.asarray(finite)]
    got = f"NaN or infinite ones for image {wrong[0]}" if len(wrong) else "none"
    expect(not len(wrong), where, f"finite activations of {at!r}", got, "Look at the weights, and at that image.")


def unit_maps(net: Layer, params: Params, state: State, images: jax.Array, at: str) -> tuple[jax.Array, jax.Array]:
    """Return a layer's maps (N, h, w, units) in float32, and of each image whether they are finite."""
    _, found = activations(net, params, state, to_float(images), [at])
    maps = found[at].astype(jnp.float32)
    return maps, jnp.isfinite(maps).all(axis=(1, 2, 3))


def _spec(where: str, net: Layer, params: Params, state: State, images: np.ndarray, at: Any) -> Any:
    expect_trained(where, net, params, state)
    expect_known(where, (params, state))
    expect(isinstance(at, str), where, "at as the path of one layer", shown(at), 'Pass "stage2", say.', TypeError)
    return jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32)
