"""How small a change fools a net: the sizes of perturbations of many images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, drawing, figure, note, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["perturbation_sizes"]

BINS = 32


@drawing
def perturbation_sizes(sizes: Mapping[str, np.ndarray], *, quantity: str = "size of the change") -> "Figure":
    """Return the histogram of the smallest changes that each attack found, a panel an attack, with the median.

    The median is that of all images: those that were not fooled count as larger than any other.

    Args:
        sizes: for each attack (n,) sizes, 0 or more; NaN or infinite for images that were not fooled.
        quantity: what the size is, with its unit.

    Returns:
        The figure, with one axes an attack; all have the same bins.

    Raises:
        ValueError: no attack, or one without images or with sizes below 0.
    """
    where = "perturbation_sizes"
    found = {name: np.asarray(values, np.float64).ravel() for name, values in sizes.items()}
    found = {name: np.where(np.isfinite(values), values, np.inf) for name, values in found.items()}
    usable = bool(found) and all(values.size > 0 and bool((values >= 0).all()) for values in found.values())
    counts = {name: values.size for name, values in found.items()}
    expect(usable, where, "sizes of at least 0 for every attack", counts, "Leave out what has none.")

    largest = max(values[np.isfinite(values)].max(initial=0.0) for values in found.values()) or 1.0
    blank = figure(0.5 + 1.35 * len(found))
    stack = blank.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, values) in zip(stack, found.items(), strict=True):
        fooled = values[np.isfinite(values)]
        counts, edges = np.histogram(fooled, BINS, (0, largest))
        middle = float(np.median(values))
        panel(axes, name)
        axes.bar((edges[:-1] + edges[1:]) / 2, counts, width=0.9 * largest / BINS, color=BLUE)
        axes.locator_params(axis="y", integer=True, nbins=4)
        words = [f"median {middle:.3g}"] if np.isfinite(middle) else []
        if words:
            axes.axvline(middle, color=INK, linewidth=1.0, linestyle=(0, (2, 3)), label="median")
        lost = values.size - fooled.size
        note(axes, [*words, *([f"{lost} of {values.size} not fooled"] if lost else [])])
        axes.set_ylabel("images", **style(MUTED))
    stack[-1].set_xlim(0, largest)
    stack[-1].set_xlabel(quantity, **style(MUTED))
    return blank
