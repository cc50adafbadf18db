"""Objects as points: each object is a peak of its class's heat map, with a size and an offset beside it.

Source: Zhou, Wang, Kraehenbuehl, "Objects as points", 2019.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, floating, number, shown
from jaxcnn.detection.boxes import area, non_maximum_suppression

__all__ = ["CentreLoss", "Found", "centre_loss", "decode", "heat_map"]

BESIDE = 4  # maps beside the heat maps: width, height, offset to the right, offset down
OVERLAP = 0.7  # of a box that is shifted within the peak and the true one: the radius of the peaks


class Found(NamedTuple):
    """Boxes, (N, limit, ...), from the highest score down; a pytree."""

    boxes: jax.Array  # (N, limit, 4): x0, y0, x1, y1 in pixels
    score: jax.Array  # (N, limit), in [0, 1]
    label: jax.Array  # (N, limit), the class; -1 for no box

    def rows(self, least: float = 0.0) -> list[dict[str, np.ndarray]]:
        """Return the boxes of each image, as `average_precision` takes them, without those of scores below `least`."""
        boxes, score, label = (np.asarray(part) for part in self)
        label = np.where(score >= least, label, -1)
        return [{"boxes": b, "score": s, "class": c} for b, s, c in zip(boxes, score, label, strict=True)]


def heat_map(boxes: jax.Array, box_class: jax.Array, *, shape: tuple[int, int], classes: int, stride: int) -> jax.Array:
    """Return the heat maps that a net is to give for one image: a Gaussian at the centre of each object.

    The maximum over the objects of a class of exp(-|p - c|^2 / (2 s^2)), c the cell of the centre, s a third of the
    radius within which shifted boxes overlap the true one by 0.7 or more.

    Args:
        boxes: floating (K, 4), in pixels.
        box_class: integers (K,), -1 for no object.
        shape: rows and columns of the map.
        classes: how many there are.
        stride: pixels of the image a cell is wide.

    Returns:
        (h, w, classes) float32, in [0, 1], 1 at the cells of centres.

    Source: section 3; the radius as in Law & Deng 2018, section 3.2.
    """
    cell, size = _centres(boxes, stride)
    sigma = _radius(size / stride) / 3 + 1e-6
    rows, columns = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])
    down, right = jnp.floor(cell[:, 1]), jnp.floor(cell[:, 0])
    far = (rows - down[:, None, None]) ** 2 + (columns - right[:, None, None]) ** 2
    peaks = jnp.exp(-far / (2 * sigma[:, None, None] ** 2))
    own = box_class[:, None] == jnp.arange(classes)
    return jnp.max(jnp.where(own[:, None, None, :], peaks[..., None], 0), 0, initial=0)


@dataclass(frozen=True)
class CentreLoss:
    """The trainer's loss of a detector: see `centre_loss`."""

    stride: int
    size_weight: float = 0.1

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        missing = [name for name in ("boxes", "box_class") if name not in batch]
        fix = "Pass boxes (N, K, 4) in pixels and their classes (N, K), -1 for none."
        expect(not missing, "centre_loss", 'a batch with "boxes" and "box_class"', list(batch), fix)
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        return jax.vmap(self._of_one)(outputs, batch["boxes"].astype(outputs.dtype), batch["box_class"])

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless boxes and classes fit such outputs; `fit` calls it before any work."""
        where, shape = "centre_loss", tuple(getattr(outputs, "shape", ()))
        ok = len(shape) == 4 and shape[-1] > BESIDE
        fix = "Take models.centernet, say."
        expect(ok, where, f"outputs (N, h, w, classes + {BESIDE})", shape, fix)
        held = [name for name in ("boxes", "box_class") if name in arrays]
        expect(len(held) == 2, where, 'data with "boxes" and "box_class"', list(arrays), "Pass both.")
        _, height, width, maps = shape
        boxes, kinds, classes = np.asarray(arrays["boxes"]), np.asarray(arrays["box_class"]), maps - BESIDE
        ok = boxes.ndim == 3 and boxes.shape[2] == 4 and kinds.shape == boxes.shape[:2]
        expect(ok, where, "boxes (N, K, 4) and box_class (N, K)", [boxes.shape, kinds.shape], "Fill up with -1.")
        fix = "Number the classes from 0; -1 says that there is no box."
        ok = bool(np.all((kinds >= -1) & (kinds < classes)))
        expect(ok, where, f"classes in -1..{classes - 1}", f"{kinds.min()}..{kinds.max()}", fix)
        real = boxes[kinds >= 0]
        size = np.array([width, height, width, height]) * self.stride
        _none(~np.isfinite(real), real, "finite boxes", "Leave them out: class -1.")
        what = f"boxes within the image, {size[0]}x{size[1]} pixels"
        _none((real < 0) | (real > size), real, what, "Cut them off at the frame.")
        what = "boxes x0 < x1 and y0 < y1"
        _none(real[:, :2] >= real[:, 2:], real, what, "Swap their ends, or leave them out: class -1.")

    def _of_one(self, outputs: jax.Array, boxes: jax.Array, box_class: jax.Array) -> jax.Array:
        height, width, maps = outputs.shape
        heat, beside = outputs[..., :-BESIDE], outputs[..., -BESIDE:]
        box_class = jnp.where(area(boxes) > 0, box_class, -1)  # an augmentation may have moved it out of the image
        wanted = heat_map(boxes, box_class, shape=(height, width), classes=maps - BESIDE, stride=self.stride)
        real = box_class >= 0
        count = jnp.maximum(real.sum(), 1)
        cell, size = _centres(boxes, self.stride)
        down = jnp.clip(jnp.floor(cell[:, 1]).astype(jnp.int32), 0, height - 1)
        right = jnp.clip(jnp.floor(cell[:, 0]).astype(jnp.int32), 0, width - 1)
        there = beside[down, right]
        off_size = jnp.abs(there[:, :2] - size / self.stride).sum(-1)
        off_centre = jnp.abs(there[:, 2:] - (cell - jnp.stack([right, down], -1))).sum(-1)
        off = jnp.where(real, self.size_weight * off_size + off_centre, 0).sum()
        return (_focal(heat, wanted) + off) / count


def centre_loss(stride: int, *, size_weight: float = 0.1) -> CentreLoss:
    """Return the trainer's loss of a detector whose outputs are (N, h, w, classes + 4).

    For each image (F + 0.1 S + O) / objects: F the focal loss of the heat maps, -(1 - p)^2 log p at centres and
    -(1 - t)^4 p^2 log(1 - p) elsewhere, t the wanted heat; S and O the absolute errors of the size, in cells, and of
    the centre within its cell, at the cells of centres.

    An image without objects has the loss F. A box of area 0, which augmentations make of one that has left the image,
    is none.

    Args:
        stride: pixels of the image between cells of the outputs.
        size_weight: of S.

    Returns:
        `(outputs, batch) -> (N,)`; the batch holds "boxes" (N, K, 4), in pixels, and "box_class" (N, K), -1 for none.

    Raises:
        ValueError: a stride that is no positive int, a weight below 0.

    Source: equations 1 to 4. The paper divides by the objects of the batch, here it is those of the image, so that
    each image has a loss of its own.
    """
    where = "centre_loss"
    stride = expect_count(where, "stride", stride)
    return CentreLoss(stride, number(where, "size_weight >= 0", size_weight, lambda w: w >= 0, "0.1 is the paper's."))


def decode(outputs: jax.Array | np.ndarray, *, stride: int, limit: int = 100, overlap: float | None = None) -> Found:
    """Return the boxes that outputs (N, h, w, classes + 4) stand for: the highest peaks of the heat maps.

    A peak is a cell that none of its eight neighbours exceeds. Shapes are fixed, so that it works under `jit`.

    Args:
        outputs: floating, of a net trained with `centre_loss`.
        stride: pixels of the image between cells.
        limit: boxes of an image, those with the highest scores.
        overlap: of boxes of one class, above which the better one alone is kept; None to keep all peaks, as in the
            paper.

    Returns:
        Boxes, scores, and classes, -1 for those that are none.

    Raises:
        TypeError: outputs that are not floating.
        ValueError: other shapes, a count that is not positive.

    Source: section 3, "From points to bounding boxes".
    """
    where = "decode"
    outputs = floating(where, "outputs", outputs)
    ok = outputs.ndim == 4 and outputs.shape[-1] > BESIDE
    expect(ok, where, f"outputs (N, h, w, classes + {BESIDE})", outputs.shape, "Take those of models.centernet, say.")
    stride, limit = expect_count(where, "stride", stride), expect_count(where, "limit", limit)
    if overlap is not None:
        overlap = number(where, "overlap in [0, 1]", overlap, lambda o: 0 <= o <= 1, "0.5 is usual.")
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    heat = jax.nn.sigmoid(outputs[..., :-BESIDE])
    peaks = jnp.where(F.max_pool(heat, 3, stride=1, padding="SAME") == heat, heat, 0)

    def of_one(peaks: jax.Array, beside: jax.Array) -> Found:
        _, width, classes = peaks.shape
        score, at = jax.lax.top_k(peaks.reshape(-1), min(limit, peaks.size))
        down, right, label = at // (width * classes), at // classes % width, at % classes
        size, offset = jnp.split(beside[down, right], 2, axis=-1)
        centre = jnp.stack([right, down], -1) + offset
        half = jnp.maximum(size, 0) / 2
        boxes = stride * jnp.concatenate([centre - half, centre + half], -1)
        kept = score > 0
        if overlap is not None:
            kept &= non_maximum_suppression(boxes, score, label, overlap=overlap)
        missing = limit - len(score)
        rows = (boxes, jnp.where(kept, score, 0), jnp.where(kept, label, -1))
        fill = (0.0, 0.0, -1)
        padded = [
            jnp.pad(row, [(0, missing)] + [(0, 0)] * (row.ndim - 1), constant_values=value)
            for row, value in zip(rows, fill, strict=True)
        ]
        return Found(*padded)

    return jax.vmap(of_one)(peaks, outputs[..., -BESIDE:])


def _none(wrong: np.ndarray, boxes: np.ndarray, what: str, fix: str) -> None:
    """Raise `ValueError` with those of the boxes (K, 4) that are wrong somewhere."""
    bad = boxes[wrong.any(-1)]
    expect(not len(bad), "centre_loss", what, shown(bad[:5].tolist()), fix)


def _centres(boxes: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    """Return the centres (K, 2) of boxes in cells, and their widths and heights in pixels."""
    return (boxes[:, :2] + boxes[:, 2:]) / (2 * stride), boxes[:, 2:] - boxes[:, :2]


def _radius(size: jax.Array) -> jax.Array:
    """Return how far both corners of a box (..., 2) may move, in cells, so that it overlaps the true one by OVERLAP.

    The least of three: both corners inwards, both outwards, or both the same way.
    """
    width, height = size[..., 0], size[..., 1]
    total, product = width + height, width * height

    def root(a: float, b: jax.Array, c: jax.Array) -> jax.Array:
        """The smallest positive root of a r^2 + b r + c, c > 0."""
        return (-b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0))) / (2 * a)

    same_way = root(1, -total, product * (1 - OVERLAP) / (1 + OVERLAP))
    inwards = root(4, -2 * total, (1 - OVERLAP) * product)
    outwards = root(-4 * OVERLAP, -2 * OVERLAP * total, (1 - OVERLAP) * product)
    return jnp.maximum(jnp.minimum(jnp.minimum(same_way, inwards), outwards), 0)


def _focal(heat: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return equation 1 of logits, summed."""
    p, log_p, log_not = jax.nn.sigmoid(heat), jax.nn.log_sigmoid(heat), jax.nn.log_sigmoid(-heat)
    at_centre = -((1 - p) ** 2) * log_p
    elsewhere = -((1 - wanted) ** 4) * p**2 * log_not
    return jnp.where(wanted == 1, at_centre, elsewhere).sum()
