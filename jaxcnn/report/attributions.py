"""Attribution maps side by side: which pixels decide, as several methods see it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import GRID, INK, MUTED, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, in_colours, pixels, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attributions"]

PERCENTILE = 99.0  # of the magnitudes in a map: what has the full colour, so that a few outliers do not decide it


@drawing
def attributions(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    overlay: bool = False,
    columns: int = 6,
) -> "Figure":
    """Return each image with the maps of all methods beside it, each with its name and its scale below.

    A map of several channels is summed over them. One with a negative value is signed: blue speaks against the class,
    grey is 0, red speaks for it, on a scale symmetric around 0. Others run from dark, 0, to yellow. Each map has the
    scale of the 99th percentile of its own magnitudes, or of its largest where that percentile is 0. A map that is 0
    everywhere, or has a value that is not finite, is not drawn: its tile says so.

    Args:
        images: (H, W, C) or (N, H, W, C), C 1 or 3; uint8, or floats in [0, 1].
        maps: for each method (h, w) or (N, h, w), with or without a last axis of channels; h x w may be coarser than
            H x W. With one image, maps may have its axes alone.
        captions: a line above each image, such as its class.
        overlay: whether to lay the maps over the image in grey, opaque where they are strong.
        columns: tiles a row, the image's included.

    Returns:
        The figure, with one axes that holds one image artist a tile with a picture.

    Raises:
        TypeError: images of another dtype.
        ValueError: no map, a map that does not fit the images, another number of captions, or fewer than 2 columns.
    """
    where, images = "attributions", np.asarray(images)
    images = images[None] if images.ndim == 3 else images
    shown = pixels(where, images)
    count = len(shown)
    expect(count > 0, where, "at least one image", "none", "Pass (N, H, W, C).")
    expect(len(maps) > 0, where, "at least one method", "none", 'Pass {"gradient": map}, say.')
    expect(columns >= 2, where, "2 columns or more", columns, "One is the image's.")
    fix = "Pass one for each image."
    expect(captions is None or len(captions) == count, where, f"{count} captions", len(captions or ()), fix)
    fields = {name: _fields(name, values, count) for name, values in maps.items()}

    side = min((WIDTH + GAP) / columns - GAP, 1.2)
    tall = side * min(shown.shape[1] / shown.shape[2], 2.0)
    title = 1.3 * LINE if captions is not None else 0.0
    step = tall + 2 * LINE + 0.06 + GAP
    rows = -(-(1 + len(fields)) // columns)
    blank, axes = board(count * (title + rows * step) + (count - 1) * GAP)
    most = max(80 // columns, 4)
    for number, image in enumerate(shown):
        top = number * (title + rows * step + GAP)
        if captions is not None:
            axes.text(0, top + 0.02, text(captions[number], 80), va="top", **style(INK, fontweight="bold"))
        tile(axes, image, 0, top + title, side, tall)
        axes.text(0, top + title + tall + 0.04, "image", va="top", **style(MUTED, 8.0))
        for place, (name, field) in enumerate(fields.items(), start=1):
            left, down = place % columns * (side + GAP), top + title + place // columns * step
            colours, words = _drawn(field[number], image if overlay else None)
            if colours is None:
                _said(axes, words, left, down, side, tall)
                words = ""
            else:
                tile(axes, colours, left, down, side, tall)
            axes.text(left, down + tall + 0.04, text(name, most), va="top", **style(INK, 8.0))
            axes.text(left, down + tall + 0.04 + LINE, words, va="top", **style(MUTED, 7.5))
    return blank


def _fields(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Return maps as (N, h, w)."""
    field = np.asarray(values)
    real = field.dtype.kind in "fiub" or field.dtype.name == "bfloat16"
    fix = "Pass (N, h, w) or (N, h, w, channels)."
    expect(real, "attributions", f"numbers in the map {name!r}", field.dtype, fix, TypeError)
    field = field.astype(np.float64)
    # Of one image the first axis may be missing; a last one that is not is then that of the channels.
    if count == 1 and (field.ndim == 2 or (field.ndim == 3 and len(field) != 1)):
        field = field[None]
    field = field.sum(axis=-1) if field.ndim == 4 else field
    ok = field.ndim == 3 and len(field) == count and 0 not in field.shape
    expect(ok, "attributions", f"a map of {count} images at {name!r}", np.shape(values), fix)
    return field


def _drawn(field: np.ndarray, image: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Return a map in colours and its scale in words, or why it is not drawn."""
    if not np.isfinite(field).all():
        return None, "not finite"
    size = np.abs(field)
    if not size.any():
        return None, "all zero"
    largest = float(np.percentile(size, PERCENTILE)) or float(size.max())
    signed = bool(field.min() < 0)
    colours = in_colours(field[None], largest, signed)[0]
    if image is not None:
        rows, columns = (np.arange(n) * m // n for n, m in zip(image.shape[:2], field.shape, strict=True))
        opaque = np.minimum(size / largest, 1.0)[rows][:, columns, None]
        grey = image.mean(axis=-1, keepdims=True)
        colours = np.rint(opaque * colours[rows][:, columns] + (1 - opaque) * grey).astype(np.uint8)
    return colours, f"±{largest:.2g}" if signed else f"0 to {largest:.2g}"


def _said(axes: "Axes", words: str, left: float, top: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), width, height, facecolor="none", edgecolor=GRID, linewidth=1.0))
    axes.text(left + width / 2, top + height / 2, words, ha="center", va="center", **style(MUTED, 8.0))
