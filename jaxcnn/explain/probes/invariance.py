"""Invariance: how much of what a layer gives changes when the images are moved?"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_flag, floating, is_number, shown
from jaxcnn.explain.inner import expect_trained
from jaxcnn.explain.probes.transforms import Transform
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations
from jaxcnn.surgery.tree import paths_in

__all__ = ["Invariance", "invariance"]

Curves = dict[str, np.ndarray]


class Invariance(NamedTuple):
    """Curves (amounts,) by path.

    `change`: the mean of |a(Tx) - a(x)| / |a(x)|. `cosine`: the mean cosine of a(Tx) and a(x). `distance`: the root
    mean square of a(Tx) - a(x), as a share of that between a of two different images: 0 is invariant, and 1 means that
    an image and its transform are as different as two images. `equivariance`, of maps alone: the same share for
    a(Tx) - T a(x), 0 where the map moves along; empty unless asked for.
    """

    amounts: np.ndarray
    change: Curves
    cosine: Curves
    distance: Curves
    equivariance: Curves


def invariance(
    net: Layer,
    params: Params,
    state: State,
    images: jax.Array,
    at: Sequence[str],
    transform: Transform,
    amounts: Sequence[float],
    *,
    equivariance: bool = False,
) -> Invariance:
    """Return how what some layers give changes under a transform of the images, by its amount.

    Only `distance` can be compared between layers: where all activations are positive, or one is large for all images,
    any two of them have a high cosine and a small relative change.

    Args:
        net, params, state: the trained net.
        images: (n, H, W, C), floating, 2 or more; some hundred do. All are in memory at once.
        at: paths of layers, at any depth.
        transform: function of images and an amount, such as `shift_by`, `rotate_by`, `scale_by`, `flip_by`, or
            `lambda images, pixels: augment.shifted(images, down=pixels)`.
        amounts: what it is called with, one after another.
        equivariance: whether maps are compared with their own transforms, too: the transform is then applied to maps
            of any size and number of channels.

    Returns:
        An `Invariance`.

    Raises:
        ValueError: an unknown path, fewer than two images, no amount, a transform that changes the images' shape,
            activations that are not finite.

    Source: Goodfellow et al. 2009, "Measuring invariances in deep networks", and Lenc and Vedaldi 2015 (equivariance),
    with distances in the place of their firing rates and maps of features.
    """
    where = "invariance"
    expect_trained(where, net, params, state)
    equivariance = expect_flag(where, "equivariance", equivariance)
    images, at = floating(where, "images", images), tuple(paths_in(where, at))
    ok = images.ndim == 4 and len(images) >= 2
    expect(ok, where, "images (n, H, W, C), two or more", images.shape, "Pass a batch of them.")
    expect(len(at) > 0, where, "at least one layer", "none", "Pass their paths.")
    expect(callable(transform), where, "a transform", shown(transform), "Pass probes.shift_by, say.", TypeError)
    ok = isinstance(amounts, Sequence | np.ndarray) and len(amounts) > 0 and all(map(is_number, amounts))
    expect(ok, where, "amounts as a list of numbers", shown(amounts), "Pass [0, 1, 2], say.")
    found, still = [], _outputs(params, state, images, net=net, at=at)
    for amount in amounts:
        moved = transform(images, amount)
        same = getattr(moved, "shape", None) == images.shape
        fix = "Let it return images of the same shape."
        expect(same, where, f"a transform that gives shape {images.shape}", shown(moved), fix)
        maps = {path: transform(still[path], amount) for path in at if equivariance and still[path].ndim == 4}
        found.append(_compared(params, state, still, moved, maps, net=net, at=at))
    finite = bool(np.isfinite(jax.tree.leaves(jax.device_get(found))).all())
    expect(finite, where, "finite activations", "others", "Look at the weights and the images.")
    curves = (
        {path: np.asarray([part[path] for part in parts]) for path in at if path in parts[0]}
        for parts in zip(*found, strict=True)
    )
    return Invariance(np.asarray(amounts), *curves)


@partial(jax.jit, static_argnames=("net", "at"))
def _outputs(params: Params, state: State, images: jax.Array, *, net: Layer, at: tuple[str, ...]) -> Any:
    return activations(net, params, state, images, at)[1]


@partial(jax.jit, static_argnames=("net", "at"))
def _compared(
    params: Params, state: State, still: Any, moved: jax.Array, maps: Any, *, net: Layer, at: tuple[str, ...]
) -> tuple[Any, Any, Any, Any]:
    before, after = (
        {path: part.reshape(len(part), -1).astype(jnp.float32) for path, part in found.items()}
        for found in (still, activations(net, params, state, moved, at)[1])
    )
    change, cosine, distance, equivariance = {}, {}, {}, {}
    for path in at:
        one, other = before[path], after[path]
        change[path] = jnp.mean(_share(_norm(other - one), _norm(one)))
        cosine[path] = jnp.mean(_share(jnp.sum(one * other, axis=1), _norm(one) * _norm(other)))
        # The mean square of the difference of two different images.
        apart = jnp.sqrt(2 * jnp.sum(jnp.square(one - one.mean(axis=0))) / (len(one) - 1))
        distance[path] = _share(jnp.sqrt(jnp.mean(_norm(other - one) ** 2)), apart)
        if path in maps:
            gap = _norm(other - maps[path].reshape(other.shape))
            equivariance[path] = _share(jnp.sqrt(jnp.mean(gap**2)), apart)
    return change, cosine, distance, equivariance


def _norm(rows: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(rows**2, axis=1))


def _share(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Return part / whole, and 0 of nothing."""
    return jnp.where(whole == 0, 0.0, part / jnp.where(whole == 0, 1.0, whole))
