"""Points on the images that they were found in, each beside the true one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, ORANGE, PAPER, WIDTH, drawing, style
from jaxcnn.report.tiles import GAP, LINE, board, outlined, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["keypoints"]


@drawing
def keypoints(
    images: np.ndarray,
    truth: np.ndarray,
    found: np.ndarray,
    captions: Sequence[str] = (),
    *,
    true_boxes: np.ndarray | None = None,
    found_boxes: np.ndarray | None = None,
    columns: int = 4,
) -> "Figure":
    """Return images with the true points as blue rings and the found ones as orange dots, a line from one to the other.

    Args:
        images: (n, h, w) or (n, h, w, 1 or 3), uint8 or floats in [0, 1].
        truth: (n, K, 2), x and y in pixels; NaN for a point that is not there.
        found: (n, K, 2); those beyond the frame are drawn on it.
        captions: a few words for each image, or none.
        true_boxes, found_boxes: (n, 4), x0, y0, x1, y1 in pixels, outlined in blue dashes and in orange; or None.
        columns: images side by side.

    Returns:
        The figure.

    Raises:
        ValueError: no image, points or boxes of another shape, another number of captions, no column.
        TypeError: images of a dtype that they cannot have.
    """
    where = "keypoints"
    images, truth, found = pixels(where, images), np.asarray(truth, float), np.asarray(found, float)
    count, height, width, _ = images.shape
    expect(count > 0, where, "at least one image", "none", "Pass some.")
    ok = truth.ndim == 3 and truth.shape[::2] == (count, 2) and found.shape == truth.shape
    expect(ok, where, f"points ({count}, K, 2), true and found", f"{truth.shape} and {found.shape}", "Pass x and y.")
    boxes = [None if given is None else np.asarray(given, float) for given in (true_boxes, found_boxes)]
    ok = all(given is None or given.shape == (count, 4) for given in boxes)
    got = [None if given is None else given.shape for given in boxes]
    expect(ok, where, f"boxes ({count}, 4)", got, "Pass one for each image.")
    ok = len(captions) in (0, count)
    expect(ok, where, f"{count} captions or none", len(captions), "Give each image its own.")
    expect(columns > 0, where, "at least one column", columns, "Pass how many images a row holds.")
    columns = min(columns, count)
    side = min((WIDTH + GAP) / columns - GAP, 2.5)
    tall, scale, end = side * height / width, side / width, np.array([width, height])
    step = tall + GAP + (LINE if captions else 0)
    blank, axes = board(-(-count // columns) * step)
    for place, image in enumerate(images):
        left, top = place % columns * (side + GAP), place // columns * step
        tile(axes, image, left, top, side, tall)
        origin = np.array([left, top])
        for given, colour, line in zip(boxes, (BLUE, ORANGE), ("--", "-"), strict=True):
            if given is not None:
                outlined(axes, np.clip(given[place], 0, np.tile(end, 2)), left, top, scale, colour, line)
        for true, dot in zip(truth[place], found[place], strict=True):
            a, b = (np.clip(point, 0, end) * scale + origin for point in (true, dot))
            axes.plot(*np.stack([a, b]).T, "-", color=ORANGE, linewidth=1.2)
            axes.plot(*a, "o", markersize=6, markerfacecolor="none", markeredgecolor=BLUE, markeredgewidth=1.6)
            axes.plot(*b, "o", markersize=4.5, color=ORANGE, markeredgecolor=PAPER, markeredgewidth=0.6)
        if captions:
            axes.text(left, top + tall + 0.02, captions[place], va="top", **style(INK, 8.0))
    return blank
