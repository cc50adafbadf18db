"""Accuracy against the size of the perturbation, a line for each attack."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, drawing, figure, legend_below, panel, style, text
from jaxcnn.report.overlay import COLOURS, DASHES, LONGEST, MOST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["robustness_curves"]


@drawing
def robustness_curves(
    epsilons: Sequence[float] | np.ndarray,
    accuracies: Mapping[str, Sequence[float] | np.ndarray],
    *,
    points: Mapping[str, tuple[float, float]] | None = None,
    quantity: str = "epsilon",
) -> "Figure":
    """Return the accuracy that each attack leaves against the size of its perturbation, with the names below.

    Args:
        epsilons: (n,) sizes, 0 or more and rising, two at least.
        accuracies: for each of up to 12 attacks n accuracies in [0, 1].
        points: single measurements, for each name (epsilon, accuracy), drawn as diamonds.
        quantity: what the size is, with its unit.

    Returns:
        The figure, with one axes that has a line an attack, then a diamond a point.

    Raises:
        ValueError: sizes that do not rise, no attack or too many, accuracies of another number or outside [0, 1].
    """
    where, points = "robustness_curves", points or {}
    sizes = np.asarray(epsilons, np.float64)
    rising = sizes.ndim == 1 and len(sizes) >= 2 and sizes[0] >= 0 and bool((np.diff(sizes) > 0).all())
    expect(rising, where, "two rising sizes or more", np.shape(epsilons), "Sort them, and leave out what is double.")
    expect(0 < len(accuracies) <= MOST, where, f"1 to {MOST} attacks", len(accuracies), "Leave some out.")
    lines = {name: np.asarray(values, np.float64) for name, values in accuracies.items()}
    for name, values in [*lines.items(), *((name, np.asarray(point[1:])) for name, point in points.items())]:
        expected = sizes.shape if name in lines else (1,)
        good = values.shape == expected and bool(((values >= 0) & (values <= 1)).all())
        expect(good, where, f"{expected[0]} accuracies in [0, 1] at {name!r}", values, "Divide percentages by 100.")

    blank = figure(3.0 + 0.17 * (len(lines) + len(points)))
    axes = panel(blank.subplots(), "accuracy")
    entries = []
    for place, (name, values) in enumerate(lines.items()):
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.7}
        entries += axes.plot(sizes, 100 * values, marker="o", markersize=2.5, label=text(name, LONGEST), **look)
    for name, (size, accuracy) in points.items():
        words = f"{text(name, LONGEST)}: {100 * accuracy:.1f} % at {size:.3g}"
        mark = {"color": INK, "markersize": 6.5, "clip_on": False, "zorder": 5}
        entries += axes.plot([size], [100 * accuracy], "D", label=words, **mark)
    legend_below(blank, entries)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel(quantity, **style(MUTED))
    return blank
