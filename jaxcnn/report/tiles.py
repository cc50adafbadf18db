"""Images side by side on a board: what every picture of pictures is made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, LOST, MUTED, NORMAL, SMALL, WIDTH, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GAP",
    "LINE",
    "board",
    "gallery",
    "in_colours",
    "legend",
    "legend_height",
    "notice",
    "numbers",
    "outlined",
    "pixels",
    "tile",
]

LINE = 0.16  # inches a line of small text takes
GAP = 0.08  # inches between tiles
PER_LINE = 5  # classes of a legend


def pixels(where: str, images: np.ndarray) -> np.ndarray:
    """Return images as uint8 (n, h, w, 3); pixels that are not finite become magenta."""
    images = np.asarray(images)
    shape = images.shape
    fix = "Put the images in an array (n, height, width, channels)."
    images = images[..., None] if images.ndim == 3 else images
    usable = images.ndim == 4 and images.shape[-1] in (1, 3) and 0 not in images.shape[1:]
    expect(usable, where, "images (n, h, w), (n, h, w, 1) or (n, h, w, 3)", shape, fix)
    images = numbers(where, images)
    lost = np.zeros(images.shape[:3], bool)
    if images.dtype != np.uint8:
        finite = np.isfinite(images)
        low, high = images.min(initial=0.0, where=finite), images.max(initial=1.0, where=finite)
        fix = "Undo the normalisation, or rescale them."
        expect(low > -1e-3 and high < 1 + 1e-3, where, "floats in [0, 1]", f"[{low:.3g}, {high:.3g}]", fix)
        lost = ~finite.all(axis=-1)
        images = np.rint(255 * np.clip(np.where(finite, images, 0.0), 0, 1)).astype(np.uint8)
    painted = np.broadcast_to(images, (*images.shape[:3], 3)).copy()
    painted[lost] = tuple(bytes.fromhex(LOST.removeprefix("#")))
    return painted


def numbers(where: str, images: np.ndarray) -> np.ndarray:
    """Return uint8 images as they are and floating ones, bfloat16 too, in float32 or wider."""
    if images.dtype == np.uint8:
        return images
    known = jax.dtypes.issubdtype(images.dtype, np.floating)
    expect(known, where, "uint8 or floating images", images.dtype, "Convert them first.", TypeError)
    return images if images.dtype == np.float64 else images.astype(np.float32)


def in_colours(values: np.ndarray, largest: float, signed: bool) -> np.ndarray:
    """Return arrays (n, h, w) as colours (n, h, w, 3) on the scale 0..largest, or -largest..largest."""
    from matplotlib import colormaps

    scale = colormaps["coolwarm" if signed else "viridis"].with_extremes(bad=LOST)
    share = 0.5 + 0.5 * values / largest if signed else values / largest
    return scale(np.ma.masked_invalid(share), bytes=True)[..., :3]


def board(height: float) -> "tuple[Figure, Axes]":
    """Return a new figure and an axes that fills it, measured in inches from its top left corner."""
    blank = figure(height, constrained=False)
    axes = blank.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return blank, axes


def tile(axes: "Axes", image: np.ndarray, left: float, top: float, width: float, height: float) -> None:
    """Put one image (h, w, 3) into the given box of a board, as large as its proportions allow."""
    rows, columns = image.shape[:2]
    scale = min(width / columns, height / rows)
    across, down = scale * columns, scale * rows
    left, top = left + (width - across) / 2, top + (height - down) / 2
    # Enlarged pixels stay squares; a photograph with more than two pixels for a dot of the screen is averaged.
    how = "none" if 1 / scale <= 192 else "antialiased"
    axes.imshow(image, extent=(left, left + across, top + down, top), interpolation=how, aspect="auto")


def legend_height(count: int) -> float:
    """Return the inches that `legend` takes for so many classes."""
    return LINE * 1.3 * -(-count // PER_LINE)


def legend(axes: "Axes", top: float, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Name classes beside their colours, some in each line."""
    for place, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        left, above = place % PER_LINE * WIDTH / PER_LINE, top + place // PER_LINE * LINE * 1.3
        axes.fill_between([left, left + LINE], above, above + LINE, color=colour, linewidth=0)
        axes.text(left + LINE + 0.05, above + LINE / 2, label, va="center", **style(MUTED, SMALL))


def outlined(axes: "Axes", box: np.ndarray, left: float, top: float, scale: float, colour: str, line: str) -> None:
    """Draw a box (4,), x0, y0, x1, y1 in pixels, over a tile whose pixels are `scale` inches wide."""
    x0, y0, x1, y1 = (float(value) * scale for value in box)
    across, down = [left + x for x in (x0, x1, x1, x0, x0)], [top + y for y in (y0, y0, y1, y1, y0)]
    axes.plot(across, down, color=colour, linewidth=1.2, linestyle=line, solid_joinstyle="miter")


def gallery(images: np.ndarray, captions: Sequence[list[tuple[str, str]]], columns: int, note: str = "") -> "Figure":
    """Return images (n, h, w, 3) in rows, with lines of text (and the colour of each) below each image."""
    _, height, width, _ = images.shape
    side = min((WIDTH + GAP) / columns - GAP, 2.0)
    tall = side * min(height / width, 2.0)
    step = tall + GAP + (LINE * max(map(len, captions)) + 0.06 if captions else 0.0)
    total = -(-len(images) // columns) * step - GAP + (2 * LINE if note else 0.0)
    blank, axes = board(total)
    for place, image in enumerate(images):
        left, top = place % columns * (side + GAP), place // columns * step
        tile(axes, image, left, top, side, tall)
        for line, (words, colour) in enumerate(captions[place] if captions else ()):
            weight = "normal" if colour in (MUTED, INK) else "bold"
            down = top + tall + 0.04 + LINE * line
            axes.text(left, down, words, va="top", **style(colour, 8.0, fontweight=weight))
    if note:
        axes.text(0, total, note, va="bottom", **style(MUTED))
    return blank


def notice(words: str) -> "Figure":
    """Return a figure that holds nothing but a sentence."""
    blank, axes = board(0.8)
    axes.text(WIDTH / 2, 0.4, words, ha="center", va="center", **style(INK, NORMAL))
    return blank
