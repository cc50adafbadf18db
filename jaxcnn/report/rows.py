"""Rows of images with a name: what rising strength, or one more step, does to an image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, SMALL, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["image_rows"]


@drawing
def image_rows(rows: Mapping[str, np.ndarray], captions: Mapping[str, Sequence[str]] | None = None) -> "Figure":
    """Return rows of images, each with its name above it and a caption below each image.

    The longest row fills the width; the images of all rows are equally wide.

    Args:
        rows: for each name its images (n, h, w), (n, h, w, 1) or (n, h, w, 3); uint8, or floats in [0, 1].
        captions: for each name n lines of text; `None` writes none.

    Returns:
        The figure, with one axes that holds one image artist a picture, row by row.

    Raises:
        TypeError: images of another dtype.
        ValueError: no row, an empty one, images that `image_grid` refuses, or captions of other rows or lengths.
    """
    painted = {name: pixels("image_rows", images) for name, images in rows.items()}
    counts = {name: len(images) for name, images in painted.items()}
    filled = bool(counts) and all(counts.values())
    expect(filled, "image_rows", "rows of at least one image", counts, "Leave out the empty ones.")
    if captions is not None:
        lengths = {name: len(lines) for name, lines in captions.items()}
        expect(lengths == counts, "image_rows", f"captions for {counts}", lengths, "Pass one for each image.")

    columns = max(counts.values())
    side = min((WIDTH + GAP) / columns - GAP, 1.2)
    talls = {name: side * min(images.shape[1] / images.shape[2], 2.0) for name, images in painted.items()}
    name_line, below = 1.3 * LINE, (LINE + 0.04 if captions is not None else 0.0)
    blank, axes = board(sum(talls.values()) + len(rows) * (name_line + below + GAP))
    top = 0.0
    for name, images in painted.items():
        # A little lower than the row, since the reader's font may be taller than the one that measures.
        axes.text(0, top + 0.02, text(name, 60), va="top", **style(INK, SMALL, fontweight="bold"))
        top += name_line
        for place, image in enumerate(images):
            left = place * (side + GAP)
            tile(axes, image, left, top, side, talls[name])
            if captions is not None:
                words = text(captions[name][place], max(84 // columns, 2))
                axes.text(left, top + talls[name] + 0.03, words, va="top", **style(MUTED, 7.5))
        top += talls[name] + below + GAP
    return blank
