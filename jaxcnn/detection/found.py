"""Boxes that were found, and which of many stand for objects: suppressed, ranked, and as many rows for each image."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.detection.boxes import non_maximum_suppression

__all__ = ["Found", "strongest"]


class Found(NamedTuple):
    """Boxes, (N, limit, ...), from the highest score down, those that are none last; a pytree."""

    boxes: jax.Array  # (N, limit, 4): x0, y0, x1, y1 in pixels; zeros for no box
    score: jax.Array  # (N, limit), in [0, 1]; 0 for no box
    box_class: jax.Array  # (N, limit), integers; -1 for no box

    def rows(self, least: float = 0.0) -> list[dict[str, np.ndarray]]:
        """Return the boxes of each image, as `average_precision` takes them, without those of scores below `least`."""
        boxes, score, label = (np.asarray(part) for part in self)
        label = np.where(score >= least, label, -1)
        return [{"boxes": b, "score": s, "box_class": c} for b, s, c in zip(boxes, score, label, strict=True)]


def strongest(
    score: jax.Array,
    boxes_of: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    *,
    candidates: int,
    limit: int,
    overlap: float | None,
    by_class: bool,
) -> Found:
    """Return the `limit` boxes of one image with the highest scores among those that no better one suppresses.

    Args:
        score: floating (M,), of any range; -inf for no box.
        boxes_of: numbers (k,) of boxes -> boxes (k, 4) and their classes (k,).
        candidates: boxes, those with the highest scores, that suppression looks at.
        limit: rows of the result, whatever M is.
        overlap: as of `non_maximum_suppression`; None to suppress nothing.
        by_class: whether boxes of one class alone suppress each other.
    """
    best, at = jax.lax.top_k(score, min(candidates, len(score)))
    boxes, label = boxes_of(at)
    kept = best > -jnp.inf
    if overlap is not None:
        kept = non_maximum_suppression(boxes, best, label if by_class else None, overlap=overlap)
    # Pad before choosing, so that there are always `limit` rows.
    ranked = jnp.pad(jnp.where(kept, best, -jnp.inf), (0, limit), constant_values=-jnp.inf)
    final, place = jax.lax.top_k(ranked, limit)
    place, real = jnp.minimum(place, len(best) - 1), final > -jnp.inf
    boxes, label = jnp.where(real[:, None], boxes[place], 0), jnp.where(real, label[place], -1)
    return Found(boxes, jnp.where(real, final, 0), label)
