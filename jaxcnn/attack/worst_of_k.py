"""The worst of several changes of an image: what makes an attack of any augmentation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.given import expect_maps, prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, logits, margin, per_image
from jaxcnn.augment.options import expect_functions
from jaxcnn.checking import expect, expect_count, expect_key
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["worst", "worst_draw", "worst_of_k"]

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def worst_of_k(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    augmentation: Augmentation,
    samples: int = 10,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> jax.Array:
    """Return of each image, among random augmentations of it and itself, the one that the net errs most on.

    x' = the least of margin(f(a(key_k, x))) over k, margin = z_y - max_{i != y} z_i, or max_{i != t} z_i - z_t of a
    target t: below 0 where the goal is reached.

        blurred = attack.worst_of_k(key, logits_fn, x, y, augmentation=partial(augment.blur, sigma=(0.5, 2)))

    Args:
        key: a PRNG key; each image has draws of its own.
        logits_fn: images -> logits.
        x: images (..., H, W, C), within the bounds.
        y: their true classes, one for all or one each.
        augmentation: (key, image (H, W, C) in [0, 1]) -> image of that shape, in the bounds when these become 0 and 1;
            any function of `jaxcnn.augment` with its options bound. It is static: make it once, not for each call.
        samples: k, the draws for each image.
        target: the classes that are wanted, or None for any but y.
        bounds: the least and the largest value of a pixel.
        chunk: draws at once: memory for `chunk` times x. As many as are fast unless given.

    Returns:
        Images of x's shape, cut off at the bounds.

    Raises:
        ValueError: samples below 1, images that are no maps or out of bounds, classes that are none, an augmentation
            that changes shapes.
        TypeError: no key, x is not floating, augmentation is no function.

    Source: Engstrom et al. 2019, section 3 (worst-of-k), for any augmentation.
    """
    return worst_draw("worst_of_k", key, logits_fn, x, y, augmentation, samples, target, bounds, chunk)


def worst_draw(
    where: str, key: Any, logits_fn: Any, x: Any, y: Any, augmentation: Any, samples: Any, target: Any, bounds: Any,
    chunk: Any,
) -> jax.Array:  # fmt: skip
    """Return what `worst_of_k` does, for the attack `where`."""
    expect_key(where, key)
    expect_functions(where, augmentation)
    logits_fn, x, goal, bounds = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    count = expect_maps(where, x, goal)
    samples, chunk = expect_count(where, "samples", samples), chunk_of(where, chunk, x)
    one = jax.ShapeDtypeStruct(x.shape[-3:], x.dtype)
    after = jax.eval_shape(augmentation, key, one)
    fix = "Crops that shrink need a size."
    expect(after.shape == one.shape, where, f"an augmentation that keeps the shape {one.shape}", after.shape, fix)
    keys = jax.random.split(key, (samples, count))
    return _run(keys, logits_fn, x, goal, augmentation=augmentation, bounds=bounds, chunk=chunk)


@partial(jax.jit, static_argnames=("augmentation", "bounds", "chunk"))
def _run(keys, logits_fn, x: jax.Array, goal, *, augmentation: Augmentation, bounds: Bounds, chunk: int) -> jax.Array:
    low, high = bounds

    def change(key: jax.Array, image: jax.Array) -> jax.Array:
        return low + (high - low) * augmentation(jax.random.clone(key), (image - low) / (high - low))

    return worst(logits_fn, x, goal, change, keys, bounds, chunk)


def worst(
    logits_fn: LogitsFn,
    x: jax.Array,
    goal: Goal,
    change: Callable[[Any, jax.Array], jax.Array],
    variants: Any,
    bounds: Bounds,
    chunk: int,
) -> jax.Array:
    """Return of each image the change, or the image as it is, after which the goal is missed by least.

    Args:
        logits_fn, x, goal, bounds: as `prepared` returns them.
        change: a variant and an image (H, W, C) -> the image changed, cut off at the bounds here.
        variants: a tree of arrays (variants, N, ...) for the N images of x.
        chunk: variants at once.
    """
    flat = x.reshape(-1, *x.shape[-3:])

    def changed(variant: Any) -> jax.Array:
        return jnp.clip(jax.vmap(change)(variant, flat), *bounds).astype(x.dtype).reshape(x.shape)

    def missed(images: jax.Array) -> jax.Array:
        by = margin(logits(logits_fn, images), goal)
        return jnp.where(jnp.isnan(by) | jnp.isnan(images).any(image_axes(x, goal)), jnp.inf, by)

    found = over_variants(lambda variant: missed(changed(variant)), variants, chunk)
    place = found.argmin(0).reshape(-1)
    chosen = jax.tree.map(lambda leaf: leaf[place, jnp.arange(len(flat))], variants)
    return jnp.where(per_image(found.min(0) < missed(x), x), changed(chosen), x)
