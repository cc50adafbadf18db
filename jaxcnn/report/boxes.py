"""Boxes on the images that they were found in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, ORANGE, WIDTH, drawing, names, style
from jaxcnn.report.masks import COLOURS
from jaxcnn.report.tiles import GAP, LINE, board, legend, legend_height, outlined, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["boxes"]

CROWDED = 10  # boxes of an image, from which on words beside each would hide it


@drawing
def boxes(
    images: np.ndarray,
    truth: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    captions: Sequence[str] = (),
    *,
    columns: int | None = None,
) -> "Figure":
    """Return images with the true boxes in blue dashes and the found ones in orange, with class and score.

    Where an image has many boxes, words would hide it: the images are larger, and the boxes have the colours of their
    classes, dashed the true ones.

    Args:
        images: (n, h, w) or (n, h, w, 1 or 3), uint8 or floats in [0, 1].
        truth: for each image {"boxes": (K, 4), "box_class": (K,)}, x0, y0, x1, y1 in pixels; -1 for no box.
        found: for each image {"boxes": (K, 4), "score": (K,), "box_class": (K,)}; -1 for no box.
        class_names: in the order of the classes.
        captions: a few words for each image, or none.
        columns: images side by side; 4, or 2 where an image has many boxes, unless given.

    Returns:
        The figure.

    Raises:
        ValueError: no image, another number of truths, finds or captions, a class without a name, no
            column.
        TypeError: images of a dtype that they cannot have.
    """
    where = "boxes"
    images = pixels(where, images)
    count, height, width, _ = images.shape
    expect(count > 0, where, "at least one image", "none", "Pass some.")
    ok = len(truth) == len(found) == count and len(captions) in (0, count)
    got = f"{len(truth)}, {len(found)} and {len(captions)}"
    expect(ok, where, f"{count} truths, finds, and captions or none", got, "Give each image its own.")
    expect(columns is None or columns > 0, where, "at least one column", columns, "Pass how many images a row holds.")
    labels = names(where, class_names, len(class_names))
    there = [_there(of, "box_class") for of in truth], [_there(of, "box_class") for of in found]
    highest = max(int(classes.max(initial=-1)) for part in there for _, classes in part)
    expect(highest < len(labels), where, f"classes in 0..{len(labels) - 1}", highest, "Name every class.")
    crowded = max(len(classes) for part in there for _, classes in part) > CROWDED
    columns = min(columns or (2 if crowded else 4), count)
    used = sorted({int(label) for part in there for _, classes in part for label in classes}) if crowded else []
    colours = {label: COLOURS[(label + 1) % len(COLOURS)] for label in used}  # the first is for grounds
    side = min((WIDTH + GAP) / columns - GAP, 2.5)
    tall = side * height / width
    step = tall + GAP + (LINE if captions else 0)
    rows = -(-count // columns)
    blank, axes = board(rows * step + legend_height(len(used)))
    for place, image in enumerate(images):
        left, top = place % columns * (side + GAP), place // columns * step
        tile(axes, image, left, top, side, tall)
        scale = side / width
        for part, colour, line in zip(there, (BLUE, ORANGE), ("--", "-"), strict=True):
            for box, label in zip(*part[place], strict=True):
                within = np.clip(box, 0, (width, height, width, height))
                outlined(axes, within, left, top, scale, colours.get(int(label), colour), line)
        mine = found[place]
        for box, score, label in zip(mine["boxes"], mine["score"], mine["box_class"], strict=True):
            if label >= 0 and not crowded:
                at = left + max(float(box[0]), 0) * scale, top + max(float(box[1]), 0) * scale
                ink = style("#ffffff", 6.0, bbox={"facecolor": ORANGE, "edgecolor": "none", "pad": 0.8})
                axes.text(*at, f"{labels[int(label)]} {float(score):.2f}", va="bottom", clip_on=True, **ink)
        if captions:
            axes.text(left, top + tall + 0.02, captions[place], va="top", **style(INK, 8.0))
    legend(axes, rows * step, [labels[label] for label in used], list(colours.values()))
    return blank


def _there(of: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of an image that are some, and their classes."""
    classes = np.asarray(of[name])
    return np.asarray(of["boxes"]).reshape(-1, 4)[classes >= 0], classes[classes >= 0]
