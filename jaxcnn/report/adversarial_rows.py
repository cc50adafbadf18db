"""Images that fool a net beside the ones that they were made from, and what was changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, ORANGE, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, in_colours, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["adversarial_rows"]


@drawing
def adversarial_rows(
    images: np.ndarray,
    adversarial: np.ndarray,
    before: Sequence[str],
    after: Sequence[str],
    *,
    fooled: Sequence[bool] | np.ndarray | None = None,
    across: int = 2,
) -> "Figure":
    """Return each image, what was added to it, and the sum, with what the net says of the image and of the sum.

    The change is enlarged to the full scale of its own largest value, which is written below it: of images with one
    channel from blue (darker) over grey (0) to red (brighter), of coloured ones around grey.

    Args:
        images: (n, h, w), (n, h, w, 1) or (n, h, w, 3); uint8, or floats in [0, 1].
        adversarial: the changed images, of the same shape and dtype.
        before: a line for each image: what the net says of it.
        after: a line for each changed image.
        fooled: for which the net errs: `after` stands out there; all unless given.
        across: images side by side, each with three tiles.

    Returns:
        The figure, with one axes that holds three image artists an image.

    Raises:
        TypeError: images of another dtype.
        ValueError: no image, other shapes or numbers of lines, or images that `image_grid` refuses.
    """
    where, count = "adversarial_rows", len(images)
    same = np.shape(images) == np.shape(adversarial) and count > 0
    got = f"{np.shape(images)} and {np.shape(adversarial)}"
    expect(same, where, "images and changed images of one shape", got, "Pass what the attack gave for these images.")
    lengths = [len(lines) for lines in (before, after, [True] * count if fooled is None else fooled)]
    expect(lengths == [count] * 3, where, f"{count} lines before and after", lengths, "Pass one for each image.")
    expect(across >= 1, where, "at least one image a row", across, "Pass across=2, say.")
    fooled = np.ones(count, bool) if fooled is None else np.asarray(fooled)
    shown, changed = (pixels(where, each) for each in (images, adversarial))

    # A little room between one image's tiles, more between images.
    room, tiles = 3 * GAP, 3 * across
    side = min((WIDTH - (tiles - across) * GAP - (across - 1) * room) / tiles, 1.2)
    tall = side * min(shown.shape[1] / shown.shape[2], 2.0)
    step = tall + LINE + 0.06 + GAP
    blank, axes = board(-(-count // across) * step - GAP)
    most = max(84 // tiles, 6)
    for place in range(count):
        left, top = place % across * (3 * side + 2 * GAP + room), place // across * step
        delta, largest = _change(images[place], adversarial[place])
        lines = (
            (before[place], MUTED),
            (f"±{largest:.2g}" if largest else "no change", MUTED),
            (after[place], ORANGE if fooled[place] else INK),
        )
        for number, (image, (words, colour)) in enumerate(
            zip((shown[place], delta, changed[place]), lines, strict=True)
        ):
            at = left + number * (side + GAP)
            tile(axes, image, at, top, side, tall)
            weight = "bold" if colour == ORANGE else "normal"
            look = style(colour, 7.5, fontweight=weight)
            axes.text(at, top + tall + 0.04, text(words, most), va="top", **look)
    return blank


def _change(image: np.ndarray, changed: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what was added, in colours (h, w, 3), and its largest value as a fraction of full scale."""
    scale = 255.0 if np.asarray(image).dtype == np.uint8 else 1.0
    delta = (np.asarray(changed, np.float64) - np.asarray(image, np.float64)) / scale
    largest = float(np.abs(delta).max(initial=0.0, where=np.isfinite(delta)))
    if delta.ndim == 3 and delta.shape[-1] == 3:
        return pixels("adversarial_rows", (0.5 + 0.5 * delta / (largest or 1.0))[None])[0], largest
    return in_colours(delta.reshape(1, *delta.shape[:2]), largest or 1.0, signed=True)[0], largest
