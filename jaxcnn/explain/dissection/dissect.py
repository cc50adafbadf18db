"""Units and concepts: where both are, over a whole set of images."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, expect_key, number, shaped
from jaxcnn.explain.dissection.bits import packed, pixels
from jaxcnn.explain.dissection.concepts import Layout, concepts, planes
from jaxcnn.explain.dissection.found import Dissection
from jaxcnn.explain.dissection.image_set import batches, expect_finite_images, expect_images, expect_maps, unit_maps
from jaxcnn.explain.dissection.thresholds import unit_thresholds
from jaxcnn.explain.dissection.upsampling import Centres, unit_centres, upsampled_by_centres
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["dissect"]


def dissect(
    net: Layer,
    params: Params,
    state: State,
    images: Any,
    masks: Mapping[str, Any],
    *,
    names: Mapping[str, Sequence[str | None]],
    at: str,
    quantile: float = 0.005,
    threshold_iou: float = 0.04,
    thresholds: Any = None,
    shuffles: int = 0,
    key: jax.Array | None = None,
    batch_size: int = 32,
) -> Dissection:
    """Return how well each unit of a layer agrees with each concept, and what it detects best.

        IoU(k, c) = sum |M_k and L_c| / sum |M_k or L_c|,    M_k = (upsampled a_k >= T_k)

    over the images in which some concept of c's category is. T_k is the activation that the unit exceeds in a share
    `quantile` of all places: see `unit_thresholds`. Maps are enlarged bilinearly, each value being at the centre of
    what its unit sees. The set streams by in batches, twice, through one program for all units and concepts; sums are
    exact.

    An IoU alone says little: units and concepts that are often at the same place of an image agree by chance. So the
    masks are exchanged between images at random, `shuffles` times, and the same is measured: `null`, `beyond_chance`.

    Args:
        net, params, state: the trained net, which is applied with `train=False`.
        images: (N, H, W, C), uint8, or floating in [0, 1], or a `Dataset`.
        masks: of each category labels, integers (N, H', W'), negative where nothing is known; or masks, bool
            (N, H', W', concepts), which may overlap. H' and W' are those of the images or the same fraction of them.
        names: of each category a name for each label or mask; None for one that is no concept.
        at: the path of a layer with a map, at any depth.
        quantile: the share of places where a unit is on, in (0, 1).
        threshold_iou: from which IoU on a unit is called a detector, in [0, 1].
        thresholds: (units,), instead of those of these images: of the training set's, say.
        shuffles: how often masks are exchanged; each costs about as much again.
        key: a PRNG key for shuffles.
        batch_size: images at once.

    Returns:
        A `Dissection`.

    Raises:
        ValueError: a layer without a map, images out of range, masks of another number or size, labels without a name,
            activations that are not finite, an option out of range.
        TypeError: images or masks of another dtype, arrays traced under `jit`, shuffles without a key.

    Source: Bau et al. 2017, section 2; quantile and threshold are theirs.
    """
    where = "dissect"
    images = expect_images(where, images)
    of_layer = expect_maps(where, net, params, state, images, at)
    known = concepts(where, masks, names, images.shape)
    threshold_iou = number(where, "threshold_iou in [0, 1]", threshold_iou, lambda t: 0 <= t <= 1, "0.04 is usual.")
    order = _pairings(where, key, shuffles, len(images))
    if thresholds is None:
        options: Any = {"at": at, "quantile": quantile, "batch_size": batch_size}
        thresholds = unit_thresholds(net, params, state, images, **options)
    thresholds = np.asarray(shaped(where, "thresholds", thresholds, of_layer[-1:]), np.float32)
    centres = unit_centres(net, images.shape[1:], at)
    totals = None
    for rows, real in batches(where, len(images), batch_size):
        paired = {category: mask[order[:, rows]] for category, mask in known.masks.items()}
        sums, finite = _sums(net, at, known.layout, centres, params, state, images[rows], paired, real, thresholds)
        expect_finite_images(where, finite, rows, at)
        sums = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.int64), sums)
        totals = sums if totals is None else jax.tree.map(np.add, totals, sums)
    both, on, area = totals  # pyrefly: ignore
    on = on[..., [list(known.masks).index(category) for category in known.categories]]
    iou = _ratio(both, on + area - both)
    ceiling = _ratio(np.minimum(on[0], area), np.maximum(on[0], area))
    return Dissection(at, known.names, known.categories, iou[0], ceiling, thresholds, iou[1:], threshold_iou)


@functools.partial(jax.jit, static_argnames=("net", "at", "layout", "centres"))
def _sums(
    net: Layer,
    at: str,
    layout: Layout,
    centres: Centres,
    params: Params,
    state: State,
    images: jax.Array,
    masks: Mapping[str, jax.Array],
    real: jax.Array,
    thresholds: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Return the numbers of pixels of a batch, and of each image whether the activations are finite.

    They are: in unit and concept, (pairings, units, concepts); in the unit, on images with some concept of a category,
    (pairings, units, categories); in the concept, (concepts,).
    """
    maps, finite = unit_maps(net, params, state, images, at)
    size = next(iter(masks.values())).shape[2:4]
    on = packed(upsampled_by_centres(maps, size, images.shape[1:3], centres) >= thresholds)
    there = jnp.moveaxis(packed(planes(layout, masks)), 0, 1)
    ends = np.cumsum([0, *(len(numbers) for _, numbers in layout)])

    def counted(image: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        on, there = image  # (words, units), (pairings, words, concepts)
        lit, area = pixels(on, 0), pixels(there, 1)
        some = jnp.stack([area[:, a:b].any(axis=1) for a, b in itertools.pairwise(ends)], axis=1)
        return pixels(on[:, :, None] & there[:, :, None], 1), jnp.where(some[:, None], lit[:, None], 0), area[0]

    def total(count: jax.Array) -> jax.Array:
        return jnp.where(real.reshape(-1, *(1,) * (count.ndim - 1)), count, 0).sum(axis=0)

    return jax.tree.map(total, jax.lax.map(counted, (on, there))), finite


def _pairings(where: str, key: Any, shuffles: Any, images: int) -> np.ndarray:
    """Return which image's masks each image has, (1 + shuffles, images): its own first."""
    shuffles, own = expect_count(where, "shuffles", shuffles, 0), np.arange(images)[None]
    if shuffles == 0:
        return own
    expect_key(where, key, known=True)
    fix = "A single image has no other's masks."
    expect(images > 1, where, "two images or more to shuffle masks between", images, fix)
    # The masks move on along a random circle of all images, so that none keeps its own.
    circle = np.asarray(jax.random.permutation(key, images))
    steps = 1 + np.arange(shuffles) % (images - 1)
    others = np.empty((shuffles, images), int)
    for shuffle, step in enumerate(steps):
        others[shuffle, circle] = np.roll(circle, -step)
    return np.concatenate([own, others])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)
