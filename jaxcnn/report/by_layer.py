"""A quantity of every layer of one net or several, from the first layer down to the last."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, drawing, figure, legend_below, panel, style, text
from jaxcnn.report.overlay import COLOURS, DASHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["by_layer"]

MOST = 60  # layers


@drawing
def by_layer(nets: Mapping[str, Mapping[str, Sequence[float]]], *, quantity: str, decimals: int = 3) -> "Figure":
    """Return the values of each net's layers as dots on a line, the first layer on top.

    Of several seeds the dot is the mean and the bar reaches one standard deviation (of the sample) to each side.
    A layer with a value that is not finite has no dot.

    Args:
        nets: for each name, for each path of a layer, at least one number, a seed each. Rows are the layers of the
            first net, then those that others have besides. Five nets at most.
        quantity: what the numbers are, with the unit.
        decimals: of the numbers beside the first net's dots.

    Returns:
        The figure, with one axes and a legend.

    Raises:
        ValueError: no net or more than five, no layer or more than 60, a layer without a number.
    """
    expect(0 < len(nets) <= len(COLOURS), "by_layer", f"1 to {len(COLOURS)} nets", len(nets), "Leave some out.")
    layers = list(dict.fromkeys(path for values in nets.values() for path in values))
    expect(0 < len(layers) <= MOST, "by_layer", f"1 to {MOST} layers", len(layers), "Choose some.")
    values = {
        name: {path: np.ravel(np.asarray(found, np.float64)) for path, found in paths.items()}
        for name, paths in nets.items()
    }
    empty = [(name, path) for name, paths in values.items() for path, found in paths.items() if not found.size]
    expect(not empty, "by_layer", "a number of every layer", f"none of {empty}", "Leave those out.")

    blank = figure(0.8 + 0.26 * len(layers) + 0.17 * len(nets))
    axes = panel(blank.subplots(), grid="x")
    for place, (name, paths) in enumerate(values.items()):
        colour, lifted = COLOURS[place], 0.12 * (place - (len(values) - 1) / 2)
        means = np.array([paths[path].mean() if path in paths else np.nan for path in layers])
        means = np.where(np.isfinite(means), means, np.nan)
        rows = np.arange(len(layers)) + lifted
        known = np.isfinite(means)
        look = {"color": colour, "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.5, "markersize": 5}
        axes.plot(means[known], rows[known], marker="o", label=text(name, 60), **look)
        for row, path in zip(rows, layers, strict=True):
            found = paths.get(path, np.zeros(0))
            if found.size > 1 and np.isfinite(found).all():
                mean, sd = found.mean(), found.std(ddof=1)
                axes.plot([mean - sd, mean + sd], [row, row], "-", color=colour, linewidth=3.5, alpha=0.35, label="sd")
        if place == 0:
            for row, mean in enumerate(means):
                words = f"{mean:.{decimals}f}" if np.isfinite(mean) else "–"
                axes.text(1.02, row, words, transform=axes.get_yaxis_transform(), va="center", **style(colour))
    axes.set_yticks(range(len(layers)), [text(path, 30) for path in layers], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlabel(quantity, **style(MUTED))
    legend_below(blank, [line for line in axes.lines if line.get_marker() == "o"])
    return blank
