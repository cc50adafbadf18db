"""Pictures of fitted Gabor functions: their orientations and frequencies, and Ringach's plane of widths."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, PAPER, drawing, figure, note, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["tuning", "widths"]


@drawing
def tuning(degrees: np.ndarray, frequency: np.ndarray) -> "Figure":
    """Return histograms of orientation, in degrees from 0 to 180, and of frequency, in cycles per pixel."""
    blank = figure(2.4)
    for axes, values, end, bins, name in zip(
        blank.subplots(1, 2), (degrees, frequency), (180, 0.5), (12, 10),
        ("orientation, degrees", "frequency, cycles per pixel"), strict=True,
    ):  # fmt: skip
        panel(axes)
        counts, edges = np.histogram(values, bins, (0, end))
        axes.bar(edges[:-1], counts, width=0.9 * end / bins, align="edge", color=BLUE)
        axes.set_xlim(0, end)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("kernels", **style(MUTED))
        axes.set_xlabel(name, **style(MUTED))
    blank.axes[0].set_xticks(range(0, 181, 45))
    return blank


@drawing
def widths(nx: np.ndarray, ny: np.ndarray, simple: np.ndarray) -> "Figure":
    """Return the scatter of widths along the wave and the stripes, in cycles; dots are hollow where not `simple`."""
    blank = figure(3.6)
    axes = panel(blank.subplots())
    axes.grid(True, axis="x", color=axes.spines["bottom"].get_edgecolor(), linewidth=0.8)
    end = 1.05 * max(float(np.quantile(np.concatenate([nx, ny]), 0.98)), 0.5)
    axes.plot([0, end], [0, end], color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)), label="nx = ny")
    axes.plot(nx[~simple], ny[~simple], "o", color=PAPER, markeredgecolor=MUTED, markersize=5, label="other")
    axes.plot(nx[simple], ny[simple], "o", color=ORANGE, markeredgecolor=PAPER, markersize=6.5, label="Gabor")
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    outside = int(np.sum(np.maximum(nx, ny) > end))
    note(axes, ["dashed: as wide as long", *([f"{outside} outside"] if outside else [])])
    axes.set_xlabel("nx, cycles along the wave", **style(MUTED))
    axes.set_ylabel("ny, cycles along the stripes", **style(MUTED))
    return blank
