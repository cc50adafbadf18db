"""What units look for: the patches that excite each of them most, a row a unit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import GRID, INK, MUTED, SMALL, WIDTH, drawing, style, text
from jaxcnn.report.tiles import GAP, LINE, board, pixels, tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["unit_patches"]

NAME = 0.95  # inches for the name of a unit


@drawing
def unit_patches(
    patches: np.ndarray, values: np.ndarray, names: Sequence[str], captions: Sequence[Sequence[str]] | None = None
) -> "Figure":
    """Return a row of patches for each unit, with the unit's name on the left and its activations below them.

    A unit that no patch excites (its values are all 0 or less) has no patches: its row says so.

    Args:
        patches: (units, count, h, w), (..., 1) or (..., 3), the strongest first; uint8, or floats in [0, 1].
        values: (units, count), the activations.
        names: one a unit; a second line after a line break is written smaller.
        captions: for each unit a word for each patch, such as its class, below the value.

    Returns:
        The figure, with one axes that holds one image artist a patch.

    Raises:
        TypeError: patches of another dtype.
        ValueError: no unit, another rank, or another number of values, names or captions.
    """
    from matplotlib.patches import Rectangle

    where, patches, values = "unit_patches", np.asarray(patches), np.asarray(values, np.float64)
    fix = "Pass what explain.inside.patches returns for the top images of some units."
    ok = patches.ndim in (4, 5) and 0 not in patches.shape
    expect(ok, where, "patches (units, count, h, w, c)", patches.shape, fix)
    units, count = patches.shape[:2]
    expect(values.shape == (units, count), where, f"values {(units, count)}", values.shape, fix)
    expect(len(names) == units, where, f"{units} names", len(names), "Pass one for each unit.")
    lengths = None if captions is None else [len(row) for row in captions]
    expect(lengths in (None, [count] * units), where, f"{units} rows of {count} captions", lengths, fix)
    shown = pixels(where, patches.reshape(units * count, *patches.shape[2:]))
    shown = shown.reshape(units, count, *shown.shape[1:])

    side = min((WIDTH - NAME + GAP) / count - GAP, 0.8)
    tall = side * min(shown.shape[2] / shown.shape[3], 2.0)
    step = tall + LINE * (1 if captions is None else 1.85) + 0.04 + GAP
    blank, axes = board(units * step - GAP)
    for row in range(units):
        top = row * step
        name, _, note = names[row].partition("\n")
        axes.text(0, top + 0.02, text(name, 16), va="top", **style(INK, SMALL, fontweight="bold"))
        axes.text(0, top + 0.02 + LINE, text(note, 20), va="top", **style(MUTED, 7.5))
        if not (values[row] > 0).any():
            axes.text(NAME, top + tall / 2, "no patch excites it", va="center", **style(MUTED))
            continue
        for place in range(count):
            left = NAME + place * (side + GAP)
            tile(axes, shown[row, place], left, top, side, tall)
            across, down = axes.images[-1].get_extent()[:2], axes.images[-1].get_extent()[2:]
            # A frame, so that white patches do not end where the page begins.
            frame = {"facecolor": "none", "edgecolor": GRID, "linewidth": 0.8}
            axes.add_patch(Rectangle((across[0], down[1]), across[1] - across[0], down[0] - down[1], **frame))
            words = [f"{values[row, place]:.2g}"] + ([captions[row][place]] if captions is not None else [])
            for line, word in enumerate(words):
                below = top + tall + 0.03 + 0.85 * LINE * line
                axes.text(left, below, text(word, max(int(19 * side), 3)), va="top", **style(MUTED, 7.0))
    return blank
