"""Centered kernel alignment: how alike are two representations of the same images?"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, expect_flag, floating, shown
from jaxcnn.classifier import as_tree
from jaxcnn.explain.probes.features import LayersFn
from jaxcnn.explain.values import expect_finite

__all__ = ["Similarity", "cka", "cka_matrix"]


def cka(a: jax.Array, b: jax.Array, *, unbiased: bool = False) -> jax.Array:
    """Return the linear CKA of two representations of the same n images: 1 where they are alike, 0 where unrelated.

        CKA = <K, L> / sqrt(<K, K> <L, L>),    <K, L> = sum_ij K_ij L_ij,

    K and L the centred Gram matrices of the rows: for each pair of images, how alike a and b find them. It is the same
    after a rotation of the features or a scaling of all of them, but not after any linear map.

    Args:
        a, b: (n, ...) and (n, ...), floating, of any numbers of features; flattened. The memory is n^2.
        unbiased: estimate <K, L> without the bias that is towards 1 where there are fewer images than features; near 0
            it may then be negative. Needs 4 images.

    Returns:
        A float32 scalar; 0 where a representation is the same for all images.

    Raises:
        ValueError: other numbers of images, fewer than 2 (4), values that are not finite.
        TypeError: an array that is not floating.

    Source: Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited", equations 3
    and 4; the unbiased estimate is HSIC_1 of Song et al. 2012, equation 5.
    """
    where = "cka"
    unbiased = expect_flag(where, "unbiased", unbiased)
    a, b = floating(where, "a", a), floating(where, "b", b)
    ok = min(a.ndim, b.ndim) >= 2 and len(a) == len(b)
    expect(ok, where, "a (n, ...) and b (n, ...)", f"{a.shape} and {b.shape}", "Show both the same images.")
    least = 4 if unbiased else 2
    expect(len(a) >= least, where, f"at least {least} images", len(a), "Pass more.")
    return expect_finite(where, "the CKA", _cka(a, b, unbiased=unbiased))


class Similarity(NamedTuple):
    """CKA between layers: `values` (rows, columns), the paths of the first net's layers and of the second one's."""

    values: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]


def cka_matrix(first: LayersFn, second: LayersFn, images: jax.Array, *, batch_size: int = 256) -> Similarity:
    """Return the linear CKA of every layer of one net with every layer of another, or of the same, batch by batch.

        CKA = sum_batches <K, L> / sqrt(sum_batches <K, K> sum_batches <L, L>),

    the inner products being the unbiased ones of `cka`: their mean over batches estimates what all images at once give.

    Args:
        first, second: functions from images to arrays by name, such as `layer_outputs` makes: of two seeds, two
            architectures, a trained net and an untrained one, or one net twice.
        images: (N, H, W, C), floating.
        batch_size: images at once, at least 4; a ragged tail is left out. Larger ones vary less.

    Returns:
        A `Similarity`.

    Raises:
        ValueError: fewer than 4 images, a batch_size below 4, functions that give other things or values that are not
            finite.
        TypeError: images that are not floating.

    Source: Nguyen, Raghu, Kornblith 2021, "Do wide and deep networks learn the same things?", equation 2.
    """
    where = "cka_matrix"
    images = floating(where, "images", images)
    expect(images.ndim == 4, where, "images (N, H, W, C)", images.shape, "Pass a batch of them.")
    size = min(expect_count(where, "batch_size", batch_size, least=4), len(images))
    expect(size >= 4, where, "at least 4 images", len(images), "Pass more.")
    fns = [as_tree(fn) for fn in (first, second)]
    names = tuple(_names(where, name, fn, images[:size]) for name, fn in zip(("first", "second"), fns, strict=True))
    sums = []
    for start in range(0, len(images) - size + 1, size):
        sums.append(_inner_products(*fns, images[start : start + size], names=names))
    cross, rows, columns = (np.sum(np.asarray(part, np.float64), axis=0) for part in zip(*sums, strict=True))
    scale = np.sqrt(rows[:, None] * columns[None, :])
    fix = "Look at the weights and the images."
    expect(bool(np.isfinite(scale).all()), where, "finite activations", "others", fix)
    return Similarity(np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0), *names)


@partial(jax.jit, static_argnames="unbiased")
def _cka(a: jax.Array, b: jax.Array, *, unbiased: bool) -> jax.Array:
    k, ll = _kernel(a, unbiased), _kernel(b, unbiased)
    scale = jnp.sqrt(jnp.sum(k * k) * jnp.sum(ll * ll))
    return jnp.where(scale == 0, 0.0, jnp.sum(k * ll) / jnp.where(scale == 0, 1.0, scale))


def _names(where: str, name: str, fn: LayersFn, images: jax.Array) -> tuple[str, ...]:
    """Return what the function names, in its order, which the arguments and values of traced functions lose."""
    order: list[str] = []

    def outputs(images: jax.Array) -> Any:
        found = fn(images)
        order.extend(found if isinstance(found, Mapping) else ())
        return found

    found = jax.eval_shape(outputs, images)
    ok = len(order) > 0 and all(part.ndim >= 2 and len(part) == len(images) for part in found.values())
    fix = "Make one with probes.layer_outputs(net, params, state)."
    expect(ok, where, f"{name} to give arrays (n, ...) by name", shown(found), fix)
    return tuple(order)


@partial(jax.jit, static_argnames="names")
def _inner_products(
    first: LayersFn, second: LayersFn, images: jax.Array, *, names: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    one, other = (
        jnp.stack([_kernel(found[name], unbiased=True).ravel() for name in order])
        for found, order in zip((first(images), second(images)), names, strict=True)
    )
    cross = jnp.dot(one, other.T, precision="highest")
    return cross, jnp.sum(one**2, axis=1), jnp.sum(other**2, axis=1)


def _kernel(x: jax.Array, unbiased: bool) -> jax.Array:
    """Return the centred Gram matrix (n, n) of rows (n, ...)."""
    n = len(x)
    x = x.reshape(n, -1).astype(jnp.float32)
    mean = x.mean(axis=0)
    x = x - mean
    still = jnp.abs(x).max() <= 1e-6 * jnp.abs(mean).max()  # nothing but rounding is left
    x = jnp.where(still, 0.0, x)
    gram = jnp.dot(x, x.T, precision="highest") / x.shape[1]
    if not unbiased:
        return gram
    # Centred without its diagonal (Székely and Rizzo 2014), its inner products are n (n - 3) times HSIC_1.
    off = 1.0 - jnp.eye(n)
    gram = gram * off
    rows = gram.sum(axis=1) / (n - 2)
    return (gram - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)) * off
