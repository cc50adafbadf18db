"""Boxes (x0, y0, x1, y1) in pixels: how much they overlap, and which of many stand for one object."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating, number

__all__ = ["area", "intersection_over_union", "non_maximum_suppression", "pair_overlaps"]


def area(boxes: jax.Array) -> jax.Array:
    """Return the areas (...) of floating boxes (..., 4), in pixels, float32 or wider; 0 of inverted ones."""
    return _area(_boxes("area", "boxes", boxes), jnp)


def intersection_over_union(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the overlap of each pair of boxes: the area that both cover by the area that one of them covers.

    Args:
        first: floating (..., K, 4), x0, y0, x1, y1 in pixels, pixel (i, j) covering [j, j + 1] x [i, i + 1].
        second: floating (..., M, 4), with the same axes in front, or such as broadcast.

    Returns:
        (..., K, M), float32 or wider, in [0, 1]; 0 where both boxes are of area 0.

    Raises:
        TypeError: boxes that are not floating.
        ValueError: no boxes of four numbers.

    Source: Everingham et al. 2010, section 4.2; agrees with `torchvision.ops.box_iou`.
    """
    where = "intersection_over_union"
    return pair_overlaps(_boxes(where, "first", first), _boxes(where, "second", second), jnp)


def pair_overlaps(first: Any, second: Any, xp: Any) -> Any:
    """Return what `intersection_over_union` does, unchecked, in the dtype of arrays of `xp`: jax.numpy or numpy."""
    a, b = first[..., :, None, :], second[..., None, :, :]
    sides = xp.minimum(a[..., 2:], b[..., 2:]) - xp.maximum(a[..., :2], b[..., :2])
    shared = xp.prod(xp.maximum(sides, 0), -1)
    union = _area(a, xp) + _area(b, xp) - shared
    return xp.where(union > 0, shared / xp.where(union > 0, union, 1), 0)


def non_maximum_suppression(
    boxes: jax.Array, scores: jax.Array, classes: jax.Array | None = None, *, overlap: float = 0.5
) -> jax.Array:
    """Return which boxes are kept: from the best score down, those that no better kept one overlaps more than that.

    All shapes are fixed, so that it works under `jit` and `vmap`.

    Args:
        boxes: floating (K, 4).
        scores: floating (K,); a box of score -inf is no box.
        classes: integers (K,), of which only boxes of the same suppress each other; None for all one.
        overlap: of intersection by union, in [0, 1].

    Returns:
        (K,) bool, in the given order.

    Raises:
        TypeError: boxes or scores that are not floating.
        ValueError: shapes that do not fit, an overlap outside [0, 1].

    Source: agrees with `torchvision.ops.nms` and `batched_nms`.
    """
    where = "non_maximum_suppression"
    boxes, scores = _boxes(where, "boxes", boxes), floating(where, "scores", scores)
    expect(boxes.ndim == 2, where, "boxes of one image, (K, 4)", boxes.shape, "jax.vmap it over images.")
    classes = jnp.zeros(boxes.shape[:1], jnp.int32) if classes is None else jnp.asarray(classes)
    for name, given in {"scores": scores, "classes": classes}.items():
        ok = given.shape == boxes.shape[:1]
        expect(ok, where, f"{name} of shape {boxes.shape[:1]}", given.shape, "Give one for each box.")
    overlap = number(where, "overlap in [0, 1]", overlap, lambda o: 0 <= o <= 1, "0.5 is usual.")
    order = jnp.argsort(-scores)  # stable, so that of equal scores the first counts
    close = intersection_over_union(boxes, boxes)[order][:, order] > overlap
    close &= classes[order][:, None] == classes[order]
    better = jnp.tril(jnp.ones(close.shape, bool), -1)

    def decide(at: jax.Array, kept: jax.Array) -> jax.Array:
        return kept.at[at].set(kept[at] & ~jnp.any(kept & close[at] & better[at]))

    kept = jax.lax.fori_loop(0, len(order), decide, scores[order] > -jnp.inf)
    return jnp.zeros_like(kept).at[order].set(kept)


def _area(boxes: Any, xp: Any) -> Any:
    return xp.prod(xp.maximum(boxes[..., 2:] - boxes[..., :2], 0), -1)


def _boxes(where: str, name: str, boxes: jax.Array) -> jax.Array:
    """Return the boxes in float32 or wider: float16 cannot hold an area of more than 65,504 pixels."""
    boxes = floating(where, name, boxes)
    ok = boxes.ndim > 0 and boxes.shape[-1] == 4
    expect(ok, where, f"{name} of shape (..., 4), x0, y0, x1, y1", boxes.shape, "Give each box four numbers.")
    return boxes.astype(jnp.promote_types(boxes.dtype, jnp.float32))
