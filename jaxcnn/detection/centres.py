"""Objects as points: each object is a peak of its class's heat map, with a size and an offset beside it.

Source: Zhou, Wang, Kraehenbuehl, "Objects as points", 2019.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_count, floating, integral, number, shown
from jaxcnn.detection.boxes import area
from jaxcnn.detection.heat_map import BESIDE, centre_and_size, heat_map

__all__ = ["CentreLoss", "centre_loss"]

WHERE = "centre_loss"
MISSING = "Pass boxes (N, K, 4) in pixels and their classes (N, K), -1 for none."
CLASSES = "Number the classes from 0; -1 says that there is no box."


@dataclass(frozen=True)
class CentreLoss:
    """The trainer's loss of a detector: see `centre_loss`."""

    stride: int
    size_weight: float = 0.1

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        outputs = floating(WHERE, "outputs", outputs)
        _expect_shapes(outputs, batch)
        boxes, kinds = batch["boxes"], integral(WHERE, "box_class", batch["box_class"], CLASSES)
        ok = len(boxes) == len(outputs)
        expect(ok, WHERE, f"boxes of {len(outputs)} images", len(boxes), "Give each image its own.")
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        return jax.vmap(self._of_one)(outputs, boxes.astype(outputs.dtype), kinds)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise an error unless images, boxes and classes fit such outputs; `fit` calls it before any work."""
        _expect_shapes(outputs, arrays)
        _, height, width, maps = outputs.shape
        if "image" in arrays:
            self._expect_stride((height, width), np.shape(arrays["image"]))
        boxes, kinds, classes = np.asarray(arrays["boxes"]), np.asarray(arrays["box_class"]), maps - BESIDE
        expect(kinds.dtype.kind in "iu", WHERE, "box_class of an integer dtype", kinds.dtype, CLASSES, TypeError)
        wrong = kinds[(kinds < -1) | (kinds >= classes)]
        expect(not wrong.size, WHERE, f"classes in -1..{classes - 1}", shown(wrong[:5].tolist()), CLASSES)
        real = boxes[kinds >= 0]
        size = np.array([width, height, width, height]) * self.stride
        _expect_none(~np.isfinite(real), real, "finite boxes", "Leave them out: class -1.")
        what = f"boxes within the image, {size[0]}x{size[1]} pixels"
        _expect_none((real < 0) | (real > size), real, what, "Cut them off at the frame.")
        what = "boxes x0 < x1 and y0 < y1"
        _expect_none(real[:, :2] >= real[:, 2:], real, what, "Swap their ends, or leave them out: class -1.")

    def _expect_stride(self, cells: tuple[int, int], image: tuple[int, ...]) -> None:
        height, width = (side * self.stride for side in cells)
        right = {pixels / side for pixels, side in zip(image[1:3], cells, strict=True)}
        known = len(right) == 1 and max(right).is_integer()
        fix = f"Pass centre_loss({max(right):g})." if known else "Give them sides that the net's stride divides."
        what = f"images (N, {height}, {width}, C), {self.stride} times the outputs' {cells[0]}x{cells[1]} cells"
        expect(image[1:3] == (height, width), WHERE, what, image, fix)

    def _of_one(self, outputs: jax.Array, boxes: jax.Array, box_class: jax.Array) -> jax.Array:
        height, width, maps = outputs.shape
        heat, beside = outputs[..., :-BESIDE], outputs[..., -BESIDE:]
        box_class = jnp.where(area(boxes) > 0, box_class, -1)  # an augmentation may have moved it out of the image
        wanted = heat_map(boxes, box_class, shape=(height, width), classes=maps - BESIDE, stride=self.stride)
        real = box_class >= 0
        count = jnp.maximum(real.sum(), 1)
        cell, size = centre_and_size(boxes, self.stride)
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
        stride: pixels of the image between cells of the outputs: images are (N, stride h, stride w, C).
        size_weight: of S, finite and >= 0.

    Returns:
        `(outputs, batch) -> (N,)`; the batch holds "boxes" (N, K, 4), in pixels, and "box_class" (N, K), integers, -1
        for none; K may be 0.

    Raises:
        ValueError: a stride that is no positive int, a weight below 0 or infinite.

    Source: equations 1 to 4. The paper divides by the objects of the batch, here it is those of the image, so that
    each image has a loss of its own.
    """
    stride = expect_count(WHERE, "stride", stride)
    what, fix = "a finite size_weight >= 0", "0.1 is the paper's."
    return CentreLoss(stride, number(WHERE, what, size_weight, lambda w: 0 <= w < math.inf, fix))


def _expect_shapes(outputs: Any, arrays: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless outputs are of such a net, and there are boxes and classes, as many of each."""
    shape = tuple(getattr(outputs, "shape", ()))
    ok = len(shape) == 4 and shape[-1] > BESIDE
    expect(ok, WHERE, f"outputs (N, h, w, classes + {BESIDE})", shape, "Take models.centernet, say.")
    ok = "boxes" in arrays and "box_class" in arrays
    expect(ok, WHERE, 'data with "boxes" and "box_class"', list(arrays), MISSING)
    boxes, kinds = (tuple(np.shape(arrays[name])) for name in ("boxes", "box_class"))
    ok = len(boxes) == 3 and boxes[2] == 4 and kinds == boxes[:2]
    expect(ok, WHERE, "boxes (N, K, 4) and box_class (N, K)", [boxes, kinds], "Fill up with -1.")


def _expect_none(wrong: np.ndarray, boxes: np.ndarray, what: str, fix: str) -> None:
    """Raise `ValueError` with those of the boxes (K, 4) that are wrong somewhere."""
    bad = boxes[wrong.any(-1)]
    expect(not len(bad), WHERE, what, shown(bad[:5].tolist()), fix)


def _focal(heat: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return equation 1 of logits, summed."""
    p, log_p, log_not = jax.nn.sigmoid(heat), jax.nn.log_sigmoid(heat), jax.nn.log_sigmoid(-heat)
    at_centre = -((1 - p) ** 2) * log_p
    elsewhere = -((1 - wanted) ** 4) * p**2 * log_not
    return jnp.where(wanted == 1, at_centre, elsewhere).sum()
