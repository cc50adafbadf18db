"""Images with what is known to lie in them: masks, boxes, keypoints."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, PALE, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, pixels, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["annotated"]

DARK = "#000000"  # beside the pale lines, so that they are seen on any image
VEIL = (246, 248, 250, 165)  # what covers the pixels outside the mask


@drawing
def annotated(
    examples: Sequence[Mapping[str, Any]], titles: Sequence[str] | None = None, *, columns: int = 4
) -> "Figure":
    """Return images with their mask, boxes and keypoints drawn on them, each with its title below it.

    What the mask calls 0 is veiled; boxes are outlines, keypoints dots. Boxes without area and keypoints outside the
    image are left out.

    Args:
        examples: each with "image", (h, w, 1) or (h, w, 3), uint8 or floats in [0, 1], all of one shape; and with
            any of "mask", integers (h, w); "boxes", (K, 4), x0, y0, x1, y1 in pixels; "keypoints", (K, 2), x, y.
        titles: one line of text for each.
        columns: images a row.

    Returns:
        The figure, with one axes that holds one image artist an example, and one more for each mask.

    Raises:
        TypeError: images of another dtype.
        ValueError: no example, images that `image_grid` refuses, an entry of another shape, another number of titles,
            or no column.
    """
    expect(len(examples) > 0, "annotated", "at least one example", "none", "Pass dicts of arrays.")
    expect(columns > 0, "annotated", "at least one column", columns, "Pass how many images a row holds.")
    for example in examples:
        expect("image" in example, "annotated", 'examples with an "image"', list(example), "Name the image's entry so.")
    shapes = {np.shape(example["image"]) for example in examples}
    expect(len(shapes) == 1, "annotated", "images of one shape", sorted(shapes), "Resize them.")
    images = pixels("annotated", np.stack([example["image"] for example in examples]))
    _, height, width, _ = images.shape
    wanted = {"mask": (height, width), "boxes": (None, 4), "keypoints": (None, 2)}
    for example in examples:
        for name in wanted.keys() & example.keys():
            got = np.shape(example[name])
            same = len(got) == 2 and all(w in (None, g) for w, g in zip(wanted[name], got, strict=True))
            shape = str(wanted[name]).replace("None", "K")
            expect(same, "annotated", f"{name} of shape {shape}", got, "Pass those of one image.")
    if titles is not None:
        fix = "Pass one title for each example."
        expect(len(titles) == len(examples), "annotated", f"{len(examples)} titles", len(titles), fix)

    side = min((WIDTH + GAP) / columns - GAP, 2.0)
    tall = side * height / width
    step = tall + GAP + (LINE + 0.06 if titles else 0.0)
    blank, axes = board(-(-len(examples) // columns) * step)
    for place, (image, example) in enumerate(zip(images, examples, strict=True)):
        left, top = place % columns * (side + GAP), place // columns * step
        tile(axes, image, left, top, side, tall)
        if "mask" in example:
            veil = np.zeros((height, width, 4), np.uint8)
            veil[np.asarray(example["mask"]) == 0] = VEIL
            tile(axes, veil, left, top, side, tall)
        _draw(axes, example, (left, top), side / width, (width, height))
        if titles:
            axes.text(left, top + tall + 0.04, text(titles[place], 80 // columns), va="top", **style(INK, 8.0))
    return blank


def _draw(
    axes: "Axes", example: Mapping[str, Any], corner: tuple[float, float], scale: float, end: tuple[int, int]
) -> None:
    """Draw the outlines and dots of an example whose image has its upper left corner there, `scale` inches a pixel."""
    origin = np.asarray(corner)
    for x0, y0, x1, y1 in np.asarray(example.get("boxes", np.zeros((0, 4)))):
        if x1 > x0 and y1 > y0:
            outline = origin + scale * np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
            for colour, thickness in ((DARK, 2.2), (PALE, 1.0)):
                axes.plot(*outline.T, "-", color=colour, linewidth=thickness, label="box")
    points = np.asarray(example.get("keypoints", np.zeros((0, 2))))
    inside = points[np.all((points >= 0) & (points <= end), axis=1)]
    if len(inside):
        dot = {"markersize": 4.5, "color": PALE, "markeredgecolor": DARK, "markeredgewidth": 1.0, "label": "keypoints"}
        axes.plot(*(origin + scale * inside).T, "o", **dot)
