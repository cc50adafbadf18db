"""How many units of each layer detect something of each category, as one bar a layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.apparatus.lines import COLOURS
from jaxcnn.report.canvas import INK, MUTED, PALE, SMALL, drawing, figure, panel, style, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["category_counts"]


@drawing
def category_counts(counts: Mapping[str, Mapping[str, int]]) -> "Figure":
    """Return a bar for each row, whose parts are the counts of the categories, with the sum at its end.

    Args:
        counts: name of the row -> category -> how many; the same categories everywhere, five at most.
    """
    blank = figure(0.95 + 0.3 * len(counts))
    axes = panel(blank.subplots(), grid="x")
    left = np.zeros(len(counts))
    rows = list(counts.values())
    for category, colour in zip(rows[0], COLOURS, strict=False):
        width = np.array([row[category] for row in rows])
        axes.barh(range(len(rows)), width, left=left, height=0.62, color=colour, label=text(category))
        for place, (start, count) in enumerate(zip(left, width, strict=True)):
            if count >= 0.06 * max(sum(row.values()) for row in rows):
                axes.text(start + count / 2, place, str(count), ha="center", va="center", **style(PALE))
        left += width
    for place, total in enumerate(left.astype(int)):
        axes.annotate(str(total), (total, place), (4, 0), textcoords="offset points", va="center", **style(INK))
    axes.set_yticks(range(len(counts)), [text(name, 30) for name in counts], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(counts) - 0.45, -0.55)
    axes.set_xlim(0, max(left.max() * 1.08, 1))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.set_xlabel("units", **style(MUTED))
    legend = blank.legend(loc="outside lower left", frameon=False, fontsize=SMALL, ncols=len(rows[0]), borderpad=0.0)
    for label in legend.get_texts():
        label.set(color=INK, parse_math=False)
    return blank
