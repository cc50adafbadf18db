"""Boxes of images that have different numbers of them, as arrays of one shape."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.checking import expect, expect_count, shown

__all__ = ["BoxSlots", "box_slots"]


class BoxSlots(NamedTuple):
    """What `box_slots` returns."""

    boxes: np.ndarray  # (N, slots, 4) float32, zeros for none
    box_class: np.ndarray  # (N, slots) int32, -1 for none
    left_out: int  # boxes of images that have more than there are slots


def box_slots(boxes: Sequence[Any], classes: Sequence[Any], slots: int | None = None) -> BoxSlots:
    """Return the boxes of N images with as many rows for each, as data sets and compiled programs want them.

    Args:
        boxes: for each image (K, 4), x0, y0, x1, y1 in pixels; K may differ, and be 0.
        classes: for each image integers (K,), 0 or more.
        slots: rows of an image, 1 or more; of an image with more boxes the largest are kept. As many as the image
            with most has, unless given.

    Returns:
        boxes, box_class, and how many boxes were left out, for the caller to say.

    Raises:
        ValueError: no images; boxes of other shapes, inverted, or not finite; negative classes.
        TypeError: classes that are not integers.
    """
    where = "box_slots"
    ok = len(boxes) == len(classes) > 0
    got = f"{len(boxes)} and {len(classes)}"
    expect(ok, where, "boxes and classes of as many images, at least one", got, "Pass an entry for each image.")
    rows = [_checked(where, at, *pair) for at, pair in enumerate(zip(boxes, classes, strict=True))]
    most = max(1, *(len(kinds) for _, kinds in rows))
    slots = most if slots is None else expect_count(where, "slots", slots)
    result = BoxSlots(
        np.zeros((len(rows), slots, 4), np.float32),
        np.full((len(rows), slots), -1, np.int32),
        sum(max(0, len(kinds) - slots) for _, kinds in rows),
    )
    for at, (own, kinds) in enumerate(rows):
        sides = own[:, 2:] - own[:, :2]
        kept = np.sort(np.argsort(-sides.prod(1), kind="stable")[:slots])
        result.boxes[at, : len(kept)], result.box_class[at, : len(kept)] = own[kept], kinds[kept]
    return result


def _checked(where: str, at: int, boxes: Any, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    boxes, classes = np.asarray(boxes, np.float32), np.asarray(classes)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    classes = classes.astype(np.int32) if classes.size == 0 else classes  # an empty list has no dtype of its own
    ok = boxes.ndim == 2 and boxes.shape[1] == 4 and classes.shape == boxes.shape[:1]
    fix = "Give each box four numbers and a class."
    expect(ok, where, f"boxes (K, 4) and classes (K,) of image {at}", f"{boxes.shape} and {classes.shape}", fix)
    fix = "Number the classes from 0."
    expect(classes.dtype.kind in "iu", where, f"integer classes of image {at}", classes.dtype, fix, TypeError)
    expect(bool(np.all(classes >= 0)), where, f"classes of image {at} from 0 on", shown(classes.tolist()), fix)
    bad = boxes[~np.isfinite(boxes).all(1)]
    expect(not len(bad), where, f"finite boxes of image {at}", shown(bad.tolist()), "Leave them out.")
    bad = boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)]
    expect(not len(bad), where, f"boxes x0, y0, x1, y1 of image {at}", shown(bad.tolist()), "Swap their ends.")
    return boxes, classes
