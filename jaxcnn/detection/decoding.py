"""What the outputs of a detector of centres stand for: boxes.

Source: Zhou, Wang, Kraehenbuehl, "Objects as points", 2019, section 3.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, floating, number
from jaxcnn.detection.found import Found, strongest
from jaxcnn.detection.heat_map import BESIDE

__all__ = ["decode"]

CANDIDATES = 5  # times the limit, unless their number is given


def decode(
    outputs: jax.Array | np.ndarray,
    *,
    stride: int,
    limit: int = 100,
    overlap: float | None = None,
    candidates: int | None = None,
) -> Found:
    """Return the boxes that outputs (N, h, w, classes + 4) stand for: the highest peaks of the heat maps.

    A peak is a cell whose logit none of its eight neighbours exceeds. Shapes are fixed, so that it works under `jit`.

    Args:
        outputs: floating, of a net trained with `centre_loss`.
        stride: pixels of the image between cells.
        limit: boxes of an image, those with the highest scores.
        overlap: of boxes of one class, above which the better one alone is kept; None to keep all peaks, as in the
            paper.
        candidates: peaks of an image, the highest, that suppression looks at; 5 limit unless given.

    Returns:
        Boxes, scores and classes, from the highest score down; what is suppressed is left out, and rows that are no
        boxes, of class -1, come last.

    Raises:
        TypeError: outputs that are not floating.
        ValueError: other shapes, a count that is not positive, an overlap outside [0, 1].

    Source: section 3, "From points to bounding boxes".
    """
    where = "decode"
    outputs = floating(where, "outputs", outputs)
    ok = outputs.ndim == 4 and outputs.shape[-1] > BESIDE
    expect(ok, where, f"outputs (N, h, w, classes + {BESIDE})", outputs.shape, "Take those of models.centernet, say.")
    stride, limit = expect_count(where, "stride", stride), expect_count(where, "limit", limit)
    if overlap is not None:
        overlap = number(where, "overlap in [0, 1]", overlap, lambda o: 0 <= o <= 1, "0.5 is usual.")
    candidates = CANDIDATES * limit if candidates is None else expect_count(where, "candidates", candidates)
    looked_at = limit if overlap is None else candidates
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    # Of logits: from 17 on the sigmoid of all is 1, and neighbours of a peak would be peaks.
    heat = outputs[..., :-BESIDE]
    peaks = jnp.where(F.max_pool(heat, 3, stride=1, padding="SAME") == heat, heat, -jnp.inf)

    def of_one(peaks: jax.Array, beside: jax.Array) -> Found:
        _, width, classes = peaks.shape

        def boxes_of(at: jax.Array) -> tuple[jax.Array, jax.Array]:
            down, right = at // (width * classes), at // classes % width
            size, offset = jnp.split(beside[down, right], 2, axis=-1)
            centre = jnp.stack([right, down], -1) + offset
            half = jnp.maximum(size, 0) / 2
            return stride * jnp.concatenate([centre - half, centre + half], -1), at % classes

        options = {"candidates": looked_at, "limit": limit, "overlap": overlap, "by_class": True}
        found = strongest(peaks.ravel(), boxes_of, **options)
        return found._replace(score=jnp.where(found.box_class >= 0, jax.nn.sigmoid(found.score), 0))

    return jax.vmap(of_one)(peaks, outputs[..., -BESIDE:])
