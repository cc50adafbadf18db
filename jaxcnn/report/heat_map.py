"""A matrix as a heat map with named rows and columns: which layers are alike?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import GRID, INK, MUTED, PALE, SMALL, WIDTH, drawing, figure, panel, style, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["heat_map"]

MOST_NUMBERS = 12  # columns: with more of them a cell is too small for its number
MOST = 60  # rows or columns
DEEP = (0x00, 0x58, 0x8A)  # a blue that carries pale numbers


@drawing
def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    of_rows: str = "",
    of_columns: str = "",
    decimals: int = 2,
) -> "Figure":
    """Return a matrix as cells from paper (the lower limit, and below) to deep blue (the upper limit, and above).

    Up to 12 columns the cells carry their numbers. A cell whose value is not finite is empty, with a cross.

    Args:
        values: (n, m).
        rows: n names, from top to bottom.
        columns: m names, from left to right.
        limits: of the scale, the lower one first.
        of_rows, of_columns: what the rows and the columns are.
        decimals: of the numbers.

    Returns:
        The figure, with one axes that holds one image.

    Raises:
        ValueError: no cell, more than 60 a side, another number of names, limits in the wrong order.
    """
    values = np.asarray(values, np.float64)
    ok = values.ndim == 2 and min(values.shape) > 0 and max(values.shape) <= MOST
    expect(ok, "heat_map", f"values (n, m), at most {MOST} a side", values.shape, "Leave some out.")
    shape = (len(rows), len(columns))
    expect(shape == values.shape, "heat_map", f"names of {values.shape} rows and columns", shape, "Pass one for each.")
    low, high = limits
    expect(low < high, "heat_map", "limits (low, high)", limits, "Put the lower one first.")

    labels = [[text(name, 24) for name in part] for part in (rows, columns)]
    side = (WIDTH - 0.9 - 0.075 * max(map(len, labels[0]))) / values.shape[1]
    across = max(map(len, labels[1])) > 3
    blank = figure(min(side, 0.5) * values.shape[0] + 0.5 + (0.08 * max(map(len, labels[1])) if across else 0.1))
    axes = panel(blank.subplots(), grid="")
    finite = np.isfinite(values)
    share = np.clip((np.where(finite, values, low) - low) / (high - low), 0, 1)
    colours = np.concatenate([np.broadcast_to(np.array(DEEP) / 255, (*values.shape, 3)), 0.95 * share[..., None]], -1)
    axes.imshow(colours, interpolation="none", aspect="auto")
    axes.set_yticks(range(values.shape[0]), labels[0], parse_math=False)
    axes.set_xticks(range(values.shape[1]), labels[1], parse_math=False)
    if across:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_ylabel(of_rows, **style(MUTED))
    axes.set_xlabel(of_columns, **style(MUTED))
    axes.set_xticks(np.arange(-0.5, values.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, values.shape[0]), minor=True)
    axes.grid(True, which="minor", color=GRID, linewidth=0.8)
    for (row, column), value in np.ndenumerate(values):
        if not finite[row, column] or values.shape[1] <= MOST_NUMBERS:
            words = f"{value:.{decimals}f}" if finite[row, column] else "×"
            colour = PALE if share[row, column] > 0.6 else INK
            axes.text(column, row, words, ha="center", va="center", **style(colour, SMALL - 1))
    return blank
