"""Units of a layer as detectors: the images that excite each most, where it is on, and where its concept is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, ORANGE, SMALL, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, pixels, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["detectors"]

VEIL = (246, 248, 250, 175)  # what covers the pixels where the unit is off
DARK = "#000000"  # beside the line, so that it is seen on any image


@drawing
def detectors(rows: Sequence[Mapping[str, object]], titles: Sequence[str]) -> "Figure":
    """Return a row of images for each unit: veiled where it is off, with its concept's outline.

    Args:
        rows: of each unit "image", (n, h, w), (n, h, w, 1) or (n, h, w, 3), uint8 or floats in [0, 1]; "on", bool
            (n, h, w), where the unit is on; "concept", bool (n, h, w), where its concept is.
        titles: a line of text for each.

    Returns:
        The figure, with one axes that holds two image artists a picture: the image and its veil.

    Raises:
        TypeError: images of another dtype.
        ValueError: no row, images that `image_grid` refuses, masks of another shape, another number of titles.
    """
    expect(len(rows) > 0, "detectors", "at least one row", "none", 'Pass dicts with "image", "on" and "concept".')
    fix = "Pass one for each row."
    expect(len(titles) == len(rows), "detectors", f"{len(rows)} titles", len(titles), fix)
    painted = [pixels("detectors", np.asarray(row["image"])) for row in rows]
    for row, images in zip(rows, painted, strict=True):
        expect(len(images) > 0, "detectors", "at least one image a row", "none", "Leave out empty rows.")
        for name in ("on", "concept"):
            shape = np.shape(row[name])  # pyrefly: ignore
            expect(shape == images.shape[:3], "detectors", f"{name!r} of shape {images.shape[:3]}", shape, fix)

    columns = max(map(len, painted))
    side = min((WIDTH + GAP) / columns - GAP, 1.2)
    talls = [side * images.shape[1] / images.shape[2] for images in painted]
    name_line = 1.3 * LINE
    blank, axes = board(sum(talls) + len(rows) * (name_line + GAP))
    top = 0.0
    for row, images, title, tall in zip(rows, painted, titles, talls, strict=True):
        # A little lower than the row, since the reader's font may be taller than the one that measures.
        axes.text(0, top + 0.02, text(title, 80), va="top", **style(INK, SMALL))
        top += name_line
        for place, image in enumerate(images):
            left = place * (side + GAP)
            tile(axes, image, left, top, side, tall)
            veil = np.zeros((*image.shape[:2], 4), np.uint8)
            veil[~np.asarray(row["on"], bool)[place]] = VEIL
            tile(axes, veil, left, top, side, tall)
            _outline(axes, np.asarray(row["concept"], bool)[place], left, top, side / image.shape[1])
        top += tall + GAP
    return blank


def _outline(axes: "Axes", mask: np.ndarray, left: float, top: float, scale: float) -> None:
    """Draw the edges of a mask's pixels, `scale` inches each, along its boundary."""
    from matplotlib.collections import LineCollection

    padded = np.pad(mask, 1)
    y, x = np.nonzero(padded[:, 1:] != padded[:, :-1])  # upright edges, between a pixel and the one to its right
    upright = np.stack([np.stack([x, y - 1], -1), np.stack([x, y], -1)], 1)
    y, x = np.nonzero(padded[1:] != padded[:-1])
    level = np.stack([np.stack([x - 1, y], -1), np.stack([x, y], -1)], 1)
    edges = np.array([left, top]) + scale * np.concatenate([upright, level]).reshape(-1, 2, 2)
    for colour, thickness in ((DARK, 1.5), (ORANGE, 0.8)):
        axes.add_collection(LineCollection(list(edges), colors=colour, linewidths=thickness, capstyle="projecting"))
