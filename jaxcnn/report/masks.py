"""Masks in colours beside the images that they are of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, WIDTH, drawing, names, style
from jaxcnn.report.tiles import GAP, LINE, board, legend, legend_height, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "masks"]

# The first is the ground; then Okabe and Ito's colours, and others that lie between them. Beyond, they come again.
COLOURS = (
    "#3b3b3b", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#7f3fbf", "#a6761d",
    "#66c2a5", "#ff9896", "#1b4f4a", "#c7c7c7",
)  # fmt: skip
NONE = "#ff00ff"  # of labels that no class has
ACROSS = 2  # cases side by side


@drawing
def masks(
    images: np.ndarray,
    truth: np.ndarray,
    found: np.ndarray,
    class_names: Sequence[str],
    captions: Sequence[str] = (),
) -> "Figure":
    """Return images with their true masks and those that were found, three tiles a case, and the colours of classes.

    Args:
        images: (n, h, w) or (n, h, w, 1 or 3), uint8 or floats in [0, 1].
        truth: classes of the pixels (n, h, w); what is no class is magenta.
        found: the same, of a net.
        class_names: in the order of the classes.
        captions: a few words for each case, or none.

    Returns:
        The figure.

    Raises:
        ValueError: no image, masks of another shape, another number of captions.
        TypeError: images or masks of a dtype that they cannot have.
    """
    where = "masks"
    images = pixels(where, images)
    shape = images.shape[:3]
    expect(shape[0] > 0, where, "at least one image", "none", "Pass some.")
    painted = []
    for name, mask in {"truth": truth, "found": found}.items():
        mask = np.asarray(mask)
        expect(mask.shape == shape, where, f"{name} of shape {shape}", mask.shape, "Give each image its mask.")
        whole = np.issubdtype(mask.dtype, np.integer)
        expect(whole, where, f"{name} as integers", mask.dtype, "Pass classes of pixels.", TypeError)
        painted.append(_painted(mask, len(class_names)))
    ok = len(captions) in (0, shape[0])
    expect(ok, where, f"{shape[0]} captions or none", len(captions), "Give one for each image.")
    labels = names(where, class_names, len(class_names))

    wide = (WIDTH - GAP * (3 * ACROSS - 1) - GAP) / (3 * ACROSS)
    tall = wide * shape[1] / shape[2]
    step = tall + GAP + (LINE if captions else 0)
    rows = -(-shape[0] // ACROSS)
    used = sorted({int(label) for mask in (truth, found) for label in np.unique(mask) if 0 <= label < len(labels)})
    blank, axes = board(LINE + rows * step + legend_height(len(used)))
    for case in range(min(ACROSS, shape[0])):
        left = case * (3 * (wide + GAP) + GAP)
        for place, word in enumerate(("image", "truth", "found")):
            axes.text(left + place * (wide + GAP), 0.03, word, va="top", **style(MUTED))
    for case, image in enumerate(images):
        left = case % ACROSS * (3 * (wide + GAP) + GAP)
        top = LINE + case // ACROSS * step
        for place, picture in enumerate((image, *(part[case] for part in painted))):
            tile(axes, picture, left + place * (wide + GAP), top, wide, tall)
        if captions:
            axes.text(left, top + tall + 0.02, captions[case], va="top", **style(INK, 8.0))
    colours = [COLOURS[label % len(COLOURS)] for label in used]
    legend(axes, LINE + rows * step, [labels[label] for label in used], colours)
    return blank


def _painted(mask: np.ndarray, classes: int) -> np.ndarray:
    """Return uint8 (n, h, w, 3)."""
    palette = [COLOURS[label % len(COLOURS)] for label in range(classes)] + [NONE]
    colours = np.array([tuple(bytes.fromhex(colour[1:])) for colour in palette], np.uint8)
    return colours[np.where((mask >= 0) & (mask < classes), mask, classes)]
