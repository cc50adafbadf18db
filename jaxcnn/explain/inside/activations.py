"""What a layer gives for the images of a data set, batch by batch, reduced before it leaves the device."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.dataset import to_float
from jaxcnn.data.stream import Stream
from jaxcnn.explain.inner import expect_trained, layer_shapes
from jaxcnn.explain.values import expect_pixels
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations
from jaxcnn.training.evaluation import padded_batches
from jaxcnn.training.mesh import mesh_of

__all__ = ["Images", "averages", "by_batch", "layer_shape", "size_of"]

Images = Stream | Mapping[str, Any] | np.ndarray | jax.Array
"""Images (N, H, W, C), uint8 or floating in [0, 1], a `Dataset` (or another mapping with "image"), or a `Stream`."""

Read = Callable[[jax.Array, jax.Array], Any]
"""Activations (B, positions, units) in float32, and which of the B count -> arrays to keep; hashable."""


def by_batch(
    where: str, net: Layer, params: Params, state: State, images: Images, at: str, read: Read, batch_size: int
) -> Iterator[Any]:
    """Yield what `read` makes of the layer's activations, batch after batch, on the host.

    A vector of a layer without a map counts as a map of one position.

    Raises:
        ValueError: an unknown path, no image, images out of [0, 1], activations that are not finite.
    """
    layer_shape(where, net, params, state, images, at)
    held = _as_set(where, images)
    if not isinstance(held, Stream):
        expect_pixels(where, "images", held["image"])
    batches = padded_batches(where, held, batch_size, mesh_of(params))
    done = 0
    for batch, mask in batches:
        kept, lost, count = jax.device_get(_read(params, state, batch["image"], mask, net=net, at=at, read=read))
        done += int(count)
        fix = "Look at the weights and the images."
        expect(lost == 0, where, f"finite activations at {at!r}", f"others for {lost} of {done} images", fix)
        yield kept


def averages(
    where: str, net: Layer, params: Params, state: State, images: Images, at: str, batch_size: int
) -> np.ndarray:
    """Return the mean of each unit over the positions of each image, (N, units)."""
    parts = list(by_batch(where, net, params, state, images, at, _averaged, batch_size))
    return np.concatenate(parts)[: size_of(where, images)]  # the last batch alone is padded


def layer_shape(where: str, net: Layer, params: Params, state: State, images: Images, at: str) -> tuple[int, int, int]:
    """Return height, width and units of a layer; 1 x 1 of one without a map."""
    expect_trained(where, net, params, state)
    held = _as_set(where, images)
    spec = held.spec if isinstance(held, Stream) else jax.ShapeDtypeStruct((1, *held["image"].shape[1:]), jnp.float32)
    shape = layer_shapes(net, params, state, spec, [at])[at]
    what, got = "a layer that gives (N, units) or (N, h, w, units)", f"{at!r} of shape {shape}"
    expect(len(shape) in (2, 4) and 0 not in shape, where, what, got, "Choose another.")
    height, width, units = (1, 1, *shape[1:])[-3:]
    return height, width, units


def size_of(where: str, images: Images) -> int:
    """Return the number of images."""
    held = _as_set(where, images)
    return held.size if isinstance(held, Stream) else len(held["image"])


def _as_set(where: str, images: Images) -> Any:
    if isinstance(images, Stream):
        return images
    if isinstance(images, Mapping) and "image" in images:
        return {"image": images["image"]}
    ok = not isinstance(images, Mapping) and getattr(images, "ndim", 0) == 4
    expect(ok, where, "images (N, H, W, C) or a data set", type(images).__name__, 'Pass test["image"], say.')
    return {"image": images}


def _averaged(inside: jax.Array, mask: jax.Array) -> jax.Array:
    return inside.mean(axis=1)


@partial(jax.jit, static_argnames=("net", "at", "read"))
def _read(
    params: Params, state: State, image: jax.Array, mask: jax.Array, *, net: Layer, at: str, read: Read
) -> tuple[Any, jax.Array, jax.Array]:
    inside = activations(net, params, state, to_float(image), [at])[1][at].astype(jnp.float32)
    inside = inside.reshape(len(inside), -1, inside.shape[-1])
    lost = mask & ~jnp.isfinite(inside).all(axis=(1, 2))
    return read(inside, mask), lost.sum(), mask.sum()
