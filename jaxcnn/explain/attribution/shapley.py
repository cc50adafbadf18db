"""Shapley values of the patches of an image, by random orders in which they come."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect_count, expect_key
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.attribution.occlusion import Size, pair
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, prepared, score
from jaxcnn.explain.values import expect_finite
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["shapley_sampling"]


def shapley_sampling(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    target: Target,
    *,
    patch: int | Size = 4,
    baseline: float | jax.Array | str = 0.0,
    permutations: int = 16,
    chunk: int | None = None,
) -> jax.Array:
    """Return what each patch adds to the score when it comes, on average over orders of the patches.

    phi_j = E_order[f(x where j and those before it are seen) - f(x where those before it are)], the rest being the
    baseline. The values sum to f(x) - f(b) exactly. Every second order is the one before it backwards, which makes
    the values of pairs of patches that act together exact, too.

    Args:
        key: a PRNG key; the orders that it gives are those of all images.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        target: a class, one for each image, or a function of the outputs -> scores (...): f is its score.
        patch: pixels along each side, or (height, width), at most the image's; those at the end may be smaller. All
            channels come together.
        baseline: what is seen where nothing has come yet: a number, an array that broadcasts to x, or "blur".
        permutations: orders; each takes a forward pass for each patch but one.
        chunk: forward passes at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        A map of x's shape, in units of the score: the value of each patch, spread evenly over its pixels and channels.
        (captum gives the whole value to each of them.)

    Raises:
        ValueError: a patch larger than the image, permutations below 1, a baseline that does not fit x, a target out of
            range, a map that is not finite.
        TypeError: x is not floating, no key.

    Source: Castro, Gómez, Tejada 2009; Mitchell et al. 2022, section 4.1, for the orders backwards. Agrees with
    `captum.attr.ShapleyValueSampling` with the same orders, and with `captum.attr.ShapleyValues` on few patches.
    """
    where = "shapley_sampling"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    patch = pair(where, "patch", patch, x)
    other = baseline_of(where, baseline, x)
    permutations = expect_count(where, "permutations", permutations)
    options = {"permutations": permutations, "chunk": chunk_of(where, chunk, x)}
    return expect_finite(where, "the map", _run(key, logits_fn, x, target, other, patch=patch, **options))


@functools.partial(jax.jit, static_argnames=("patch", "permutations", "chunk"))
def _run(
    key, logits_fn, x: jax.Array, target, other: jax.Array, *, patch: Size, permutations: int, chunk: int
) -> jax.Array:
    patches = _numbers(x.shape[-3:-1], patch)
    many = int(patches.max()) + 1
    places = _places(key, many, permutations)

    def value(variant: tuple[jax.Array, jax.Array]) -> jax.Array:
        order, come = variant
        seen = (places[order] < come)[patches][..., None]
        return score(logits_fn, jnp.where(seen, x, other), target)

    # None and all have come in every order alike: these two are the first and the last.
    orders, come = (index.ravel() for index in np.indices((permutations, many - 1)))
    variants = np.pad(orders, 1), np.concatenate([[0], come + 1, [many]])
    values = over_variants(value, tuple(map(jnp.asarray, variants)), chunk)
    between = values[1:-1].reshape(permutations, many - 1, *values.shape[1:])
    ends = [jnp.broadcast_to(end, (permutations, 1, *values.shape[1:])) for end in (values[0], values[-1])]
    steps = jnp.diff(jnp.concatenate([ends[0], between, ends[1]], axis=1), axis=1)
    phi = jax.vmap(lambda step, place: step[place])(steps, places).mean(0)
    phi = jnp.moveaxis(phi, 0, -1) / (np.bincount(patches.ravel()) * x.shape[-1])
    return jnp.broadcast_to(phi[..., patches][..., None], x.shape).astype(x.dtype)


def _numbers(size: tuple[int, ...], patch: Size) -> np.ndarray:
    """Return the number of the patch that each pixel lies in, (H, W), in reading order."""
    rows, columns = (np.arange(n) // p for n, p in zip(size, patch, strict=True))
    return rows[:, None] * (columns[-1] + 1) + columns


def _places(key: jax.Array, many: int, permutations: int) -> jax.Array:
    """Return at which place each patch comes, (permutations, many), every second order backwards."""
    keys = jax.random.split(key, -(-permutations // 2))
    places = jax.vmap(lambda key: jax.random.permutation(key, many))(keys)
    return jnp.stack([places, many - 1 - places], axis=1).reshape(-1, many)[:permutations]
