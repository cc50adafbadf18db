"""What a net holds inside: the kernels of a layer, and the activations of one image layer by layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, SMALL, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, in_colours, pixels, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["feature_maps", "filters"]


@drawing
def filters(kernel: np.ndarray, *, limit: int = 64) -> "Figure":
    """Return the kernels of a convolution as tiles, on one scale for all, so that weak filters look weak.

    Kernels of three input channels are shown as colours `0.5 + kernel / (2 max|kernel|)`, in which grey stands for
    0. Of any other number each pair of filter and input channel is a tile, from blue (negative) over grey to red.

    Args:
        kernel: (kh, kw, c_in, c_out).
        limit: tiles at most; how many were left out is written below.

    Returns:
        The figure, with one axes that holds one image artist a tile.

    Raises:
        ValueError: another rank, an empty kernel, or a limit below 1.
    """
    kernel = np.asarray(kernel, np.float64)
    fix = "Pass the kernel of a two-dimensional convolution."
    good = kernel.ndim == 4 and kernel.size > 0
    expect(good, "filters", "a kernel (kh, kw, c_in, c_out)", kernel.shape, fix)
    expect(limit > 0, "filters", "a limit above 0", limit, "Ask for at least one tile.")
    height, width, channels, _ = kernel.shape
    colour = channels == 3
    tiles = np.moveaxis(kernel, 3, 0) if colour else kernel.transpose(3, 2, 0, 1).reshape(-1, height, width)
    left, tiles = max(len(tiles) - limit, 0), tiles[:limit]
    largest = np.abs(kernel).max(initial=0.0, where=np.isfinite(kernel)) or 1.0

    columns = 8 if channels in (1, 3) else min(channels, 16)
    side = min((WIDTH + GAP) / columns - GAP, 0.75)
    total = -(-len(tiles) // columns) * (side + GAP) + 1.5 * LINE
    blank, axes = board(total)
    painted = pixels("filters", 0.5 + 0.5 * tiles / largest) if colour else in_colours(tiles, largest, signed=True)
    for place, image in enumerate(painted):
        tile(axes, image, place % columns * (side + GAP), place // columns * (side + GAP), side, side)
    scale = f"grey 0, full colour ±{largest:.2g}" if colour else f"blue −{largest:.2g}, grey 0, red {largest:.2g}"
    words = scale + (f"; {left:,} more are not shown" if left else "")
    axes.text(0, total, words, va="bottom", **style(MUTED))
    return blank


@drawing
def feature_maps(maps: Mapping[str, np.ndarray], image: np.ndarray | None = None, *, channels: int = 8) -> "Figure":
    """Return the activations of one image, a row a layer: its first channels, and how many more there are.

    Each row has one scale for all its channels, so that a channel that does not answer looks dead: dark is 0 and
    yellow the largest in layers without negative values; blue is negative, grey 0 and red positive in the others.

    Args:
        maps: for each path of a layer its activations (h, w, c), without batch axis.
        image: (h, w), (h, w, 1) or (h, w, 3), uint8 or floats in [0, 1]: what the net was shown, put on top.
        channels: tiles a row at most.

    Returns:
        The figure, with one axes that holds one image artist a tile, the image first.

    Raises:
        TypeError: an image of another dtype.
        ValueError: no layer, an activation of another rank, or an image that `image_grid` refuses.
    """
    layers = {path: np.asarray(values, np.float64) for path, values in maps.items()}
    fix = "Pass a mapping from paths to activations."
    expect(len(layers) > 0, "feature_maps", "at least one layer", "none", fix)
    expect(channels > 0, "feature_maps", "at least one channel", channels, "Pass how many tiles a row holds.")
    fix = "Pass the activations of one image, without batch axis."
    for path, values in layers.items():
        good = values.ndim == 3 and values.size > 0
        expect(good, "feature_maps", f"(h, w, c) at {path!r}", values.shape, fix)
    shown = None if image is None else pixels("feature_maps", np.asarray(image)[None])

    side = min((WIDTH + GAP) / channels - GAP, 0.9)
    step = 1.4 * LINE + side + 2 * GAP
    blank, axes = board(step * (len(layers) + (shown is not None)) - 2 * GAP)
    top = 0.0
    if shown is not None:
        _row(axes, top, "image", "", shown, side)
        top += step
    for path, values in layers.items():
        height, width, count = values.shape
        finite = np.isfinite(values)
        largest = np.abs(values).max(initial=0.0, where=finite) or 1.0
        signed = bool(values.min(initial=0.0, where=finite) < 0)
        painted = in_colours(np.moveaxis(values, 2, 0)[:channels], largest, signed)
        left = f", {count - channels} more not shown" if count > channels else ""
        _row(axes, top, text(path, 36), f"{height}×{width}, {count} channels{left}", painted, side)
        top += step
    return blank


def _row(axes: "Axes", top: float, title: str, note: str, images: np.ndarray, side: float) -> None:
    # A little lower than the row, since the reader's font may be taller than the one that measures.
    axes.text(0, top + 0.03, title, va="top", **style(INK, SMALL, fontweight="bold"))
    axes.text(WIDTH, top + 0.03, note, va="top", ha="right", **style(MUTED))
    for place, image in enumerate(images):
        tile(axes, image, place * (side + GAP), top + 1.4 * LINE, side, side)
