"""Which classes the units of a layer answer to, as a heat map."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, LOST, MUTED, drawing, figure, names, note, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["class_means"]


@drawing
def class_means(means: np.ndarray, class_names: Sequence[str] | None = None, *, title: str = "") -> "Figure":
    """Return the mean activation of each unit for each class, a column a unit, shaded by its share of the largest.

    Units are put in the order of the class that they answer to most, so that units of one class stand together: a
    staircase where they are selective. Each column has a scale of its own, from 0 to the unit's largest mean. Units
    without a positive mean come last and are empty; classes without a value are magenta.

    Args:
        means: (classes, units): `explain.inside.class_means`.
        class_names: one a class; `None` numbers them.
        title: such as the layer's path.

    Returns:
        The figure, with one axes that holds one image.

    Raises:
        ValueError: another rank, no unit, or another number of names.
    """
    where, means = "class_means", np.asarray(means, np.float64)
    ok = means.ndim == 2 and means.size > 0
    expect(ok, where, "means (classes, units)", means.shape, "Pass what explain.inside.class_means returns.")
    labels = names(where, class_names, len(means), 14)
    lost = ~np.isfinite(means)
    known = np.where(lost, 0.0, np.maximum(means, 0.0))
    best, largest = known.argmax(axis=0), known.max(axis=0)
    others = (known.sum(axis=0) - largest) / np.maximum(largest, 1e-300)  # the more selective of a class first
    order = np.lexsort((others, best, largest == 0))
    share = np.divide(known, largest, out=np.zeros_like(known), where=largest > 0)[:, order]

    blank = figure(0.75 + min(0.19 * len(means), 5.0))
    axes = panel(blank.subplots(), title, grid="")
    colours = np.zeros((*share.shape, 4))
    colours[..., :3] = np.array([0x00, 0x58, 0x8A]) / 255
    colours[..., 3] = 0.95 * share
    colours[lost[:, order]] = [*(int(LOST[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0]
    axes.imshow(colours, interpolation="none", aspect="auto")
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xticks([])
    axes.set_xlabel(f"{means.shape[1]} units, by the class that they answer to most", **style(MUTED))
    empty = int((largest == 0).sum())
    note(axes, ["blue: share of the unit's largest"] + ([f"{empty} answer to none"] if empty else []))
    return blank
