"""The number that stands for one object: what explanations are about, and what attacks bring down.

score = detection.object_score(found.boxes[:, 0], found.box_class[:, 0], stride=2)  # of the best box of each image
maps = explain.grad_cam(net, params, state, x, score, at="stage2")
there = attack.binary(logits_fn, detection.object_score(found.boxes[:, 0], stride=2), threshold=logit(0.3))
attack.pgd(key, there, x, 1, epsilon=8 / 255)  # images in which no box of that score is found there
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, floating, integral, shown
from jaxcnn.classifier import classes
from jaxcnn.detection.heat_map import BESIDE

__all__ = ["object_score"]


def object_score(
    boxes: jax.Array | np.ndarray, label: int | jax.Array | np.ndarray | None = None, *, stride: int
) -> Callable[[jax.Array], jax.Array]:
    """Return the score of one object of each image, a function of a detector's outputs.

    s = max_{(i, j) in box} y[i, j, label], y the logits of the heat maps: the peak that stands for the object. Without
    a label the largest of all classes: where it is at most logit(t), no box whose score is above t has its cell in the
    object's box, nor, its centre being in its cell, does one overlap that by half or more.

    Args:
        boxes: floating (..., 4), x0, y0, x1, y1 in pixels, one an image.
        label: its class, or integers (...), one an image; all classes unless given.
        stride: pixels of the image between cells.

    Returns:
        outputs (..., h, w, classes + 4) -> (...), one an image: for `explain`'s methods a target, for `attack.binary`
        a score.

    Raises:
        TypeError, from the call too: boxes or outputs that are not floating, labels that are no integers.
        ValueError, from the call too: shapes that do not fit, inverted boxes, boxes that begin beyond the map, classes
            that there are not.

    Source: the "vanishing" of Chow et al. 2020 (adversarial objectness gradients), for a detector of centres.
    """
    where = "object_score"
    boxes, stride = floating(where, "boxes", boxes), expect_count(where, "stride", stride)
    expect(boxes.shape[-1:] == (4,), where, "boxes (..., 4), one an image", boxes.shape, "Pass found.boxes[:, 0], say.")
    if not isinstance(boxes, jax.core.Tracer):
        known = np.asarray(boxes)
        ok = bool(np.all(known[..., :2] <= known[..., 2:]))  # NaN never is
        expect(ok, where, "boxes x0 <= x1 and y0 <= y1", "others", "Swap their ends.")
    if label is not None:
        label = integral(where, "label", label, "Pass found.box_class[:, 0], say.")
    return jax.tree_util.Partial(_object_score, boxes / stride, label)


def _object_score(cells: jax.Array, label: jax.Array | None, outputs: jax.Array) -> jax.Array:
    where = "object_score"
    outputs = floating(where, "outputs", outputs)
    ok = outputs.ndim >= 3 and outputs.shape[-1] > BESIDE
    fix = "Take those of models.centernet, say."
    expect(ok, where, f"outputs (..., h, w, classes + {BESIDE})", outputs.shape, fix)
    *images, height, width, maps = outputs.shape
    ok = cells.shape[:-1] == tuple(images)
    expect(ok, where, f"boxes of shape {(*images, 4)}", cells.shape, "Give each image one.")
    heat = outputs[..., :-BESIDE].astype(jnp.promote_types(outputs.dtype, jnp.float32))
    if label is not None:
        label = classes(where, "label", label, (*images, maps - BESIDE))
        at = jnp.broadcast_to(jnp.where(label < 0, maps, label)[..., None, None, None], (*heat.shape[:-1], 1))
        # What is known within `jit` alone cannot be refused there: attacks refuse the NaN of a class that there is not.
        heat = jnp.take_along_axis(heat, at, -1, mode="fill", fill_value=jnp.nan)
    if not isinstance(cells, jax.core.Tracer):
        first = np.asarray(cells)[..., :2].reshape(-1, 2)
        beyond = first[(first >= [width, height]).any(1)]
        fix = "Pass the detector's stride, and boxes in pixels of its images."
        what = f"boxes that begin on the map of {height}x{width} cells"
        expect(not len(beyond), where, what, f"some at cells (x, y) {shown(beyond[:3].tolist())}", fix)
    ends = jnp.clip(jnp.floor(cells), 0, jnp.array([width, height, width, height]) - 1)[..., None]
    across, down = jnp.arange(width), jnp.arange(height)
    columns = (ends[..., 0, :] <= across) & (across <= ends[..., 2, :])
    rows = (ends[..., 1, :] <= down) & (down <= ends[..., 3, :])
    inside = rows[..., :, None, None] & columns[..., None, :, None]
    return jnp.max(jnp.where(inside, heat, -jnp.inf), (-3, -2, -1))
