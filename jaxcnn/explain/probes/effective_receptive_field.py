"""The effective receptive field: which of the pixels that a unit sees matter to it?"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_key, floating
from jaxcnn.explain.inner import expect_map, expect_trained
from jaxcnn.explain.inside.receptive_field import receptive_field
from jaxcnn.explain.values import expect_finite
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations

__all__ = ["EffectiveField", "effective_receptive_field"]

FAINT = 1 - 0.9545  # of the largest value: what a Gaussian has at two standard deviations lies above it


class EffectiveField(NamedTuple):
    """How much each pixel matters to the central unit of a layer.

    `map` (H, W) sums to 1. `centre` and `sigma` are (row, column): mean and standard deviation, in pixels, of the
    Gaussian that is most like it. `size` is the side, in pixels, of a square as large as the area above 4.55 % of the
    largest value; `theoretical` (height, width) what that unit can see at all; `share` = size^2 over its area.
    """

    map: np.ndarray
    centre: np.ndarray
    sigma: np.ndarray
    size: float
    theoretical: tuple[int, int]
    share: float


def effective_receptive_field(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    at: str,
    images: jax.Array | jax.ShapeDtypeStruct,
    *,
    of: Literal["squared", "absolute"] = "squared",
) -> EffectiveField:
    """Return how much each pixel matters to the unit in the middle of a layer's map.

        map[i, j] ~ mean over images and w of  sum_c (d (w . a[h/2, w/2]) / dx[i, j, c])^2,    w ~ N(0, 1) per channel

    Of random kernels, layer after layer, the squares are a binomial's, near a Gaussian whose width grows with the root
    of the depth, while what the layer can see grows with the depth itself.

    Args:
        key: of the random weights w of the layer's channels, one draw an image; and of images, where none are given.
        net, params, state: the net, trained or not.
        at: the path of a layer with a map.
        images: (n, H, W, C), floating; or their shape and dtype, for noise, uniform on [0, 1].
        of: squared or absolute gradients; the field of the latter is wider.

    Returns:
        An `EffectiveField`. It is 0 throughout where no pixel matters, with NaN as its centre and sigma.

    Raises:
        ValueError: an unknown path, a layer without a map, images of another rank, gradients that are not finite.
        TypeError: no key, no net, images that are not floating.

    Source: Luo, Li, Urtasun, Zemel 2016, "Understanding the effective receptive field in deep convolutional neural
    networks", sections 2 and 3.
    """
    where = "effective_receptive_field"
    expect_key(where, key)
    expect_trained(where, net, params, state)
    expect_choice(where, 'of as "squared" or "absolute"', of, ("squared", "absolute"))
    weights_key, images_key = jax.random.split(key)
    if isinstance(images, jax.ShapeDtypeStruct):
        ok = jnp.issubdtype(images.dtype, jnp.floating)
        expect(ok, where, "images of a floating dtype", images.dtype, "Pass float32 ones.", TypeError)
        images = jax.random.uniform(images_key, images.shape, images.dtype)
    images = floating(where, "images", images)
    expect(images.ndim == 4 and len(images) > 0, where, "images (n, H, W, C)", images.shape, "Pass a batch of them.")
    expect_map(where, net, params, state, images, at)
    field = _field(weights_key, params, state, images, net=net, at=at, squared=of == "squared")
    field = np.asarray(expect_finite(where, "the gradients", field), np.float64)
    theoretical = _theoretical(net, at, images)
    size = float(np.sqrt(np.sum(field > FAINT * field.max()))) if field.any() else 0.0
    field = field / (field.sum() or 1.0)
    centre, sigma = _moments(field)
    area = theoretical[0] * theoretical[1]  # 0 of a layer that sees nothing
    return EffectiveField(field, centre, sigma, size, theoretical, size**2 / area if area else 0.0)


@partial(jax.jit, static_argnames=("net", "at", "squared"))
def _field(
    key: jax.Array, params: Params, state: State, images: jax.Array, *, net: Layer, at: str, squared: bool
) -> jax.Array:
    def unit(x: jax.Array) -> jax.Array:
        output = activations(net, params, state, x, [at])[1][at]
        height, width, channels = output.shape[-3:]
        weights = jax.random.normal(key, (len(output), channels), jnp.float32)
        return jnp.sum(weights * output[:, height // 2, width // 2, :].astype(jnp.float32))  # each image sees its own

    slope = jax.grad(unit)(images).astype(jnp.float32)
    return jnp.sum(slope**2 if squared else jnp.abs(slope), axis=-1).mean(axis=0)


def _theoretical(net: Layer, at: str, images: jax.Array) -> tuple[int, int]:
    """Return height and width, within the image, of what the unit in the middle can see."""
    seen = receptive_field(net, jax.ShapeDtypeStruct(images.shape, images.dtype), at)
    height, width = (int(last - first) + 1 for first, last in (part[len(part) // 2] for part in seen[:2]))
    return height, width


def _moments(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation along rows and columns: the Gaussian of maximum likelihood."""
    if not field.any():
        return np.full(2, np.nan), np.full(2, np.nan)
    places = np.arange(field.shape[0])[:, None], np.arange(field.shape[1])[None, :]
    centre = np.array([np.sum(field * place) for place in places])
    variance = [np.sum(field * (place - mean) ** 2) for place, mean in zip(places, centre, strict=True)]
    return centre, np.sqrt(variance)
