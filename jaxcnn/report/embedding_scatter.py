"""Images as points: which of them a layer takes to be alike, and whether the classes lie apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, SMALL, drawing, figure, names, panel, style, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["embedding_scatter"]

# Apart from each other in hue or lightness, and with contrast on light and dark pages.
COLOURS = (
    "#0072b2", "#e66100", "#009e73", "#cc3377", "#8f6bd8", "#b8860b", "#56a8e0", "#d62728", "#7f7f7f", "#7fae2e",
)  # fmt: skip
MARKS = ("o", "^", "s")  # beyond ten classes the colours come again with another mark
MOST = len(COLOURS) * len(MARKS)


@drawing
def embedding_scatter(
    points: "np.ndarray | dict[str, np.ndarray]", labels: np.ndarray, class_names: Sequence[str] | None = None,
    *, axes_names: Sequence[str] = (),
) -> "Figure":  # fmt: skip
    """Return the points coloured by class, a panel a layer, with a legend of the classes below them.

    The axes have one unit, so that distances along them compare; they carry no numbers, since those mean nothing.

    Args:
        points: (N, 2), or for each name, a panel each, two in a row, (N, 2): `explain.inside.project(...).points`.
        labels: integers (N,) from 0.
        class_names: one a class; `None` numbers them. At most 30 classes.
        axes_names: what the two axes of a single panel are.

    Returns:
        The figure, with an axes a panel, in which each class with points is a line of markers.

    Raises:
        ValueError: points of another shape or not finite, labels that do not fit them, more than 30 classes.
    """
    where, labels = "embedding_scatter", np.asarray(labels)
    panels = points if isinstance(points, dict) else {"": points}
    panels = {name: np.asarray(each, np.float64) for name, each in panels.items()}
    expect(len(panels) > 0, where, "at least one panel", "none", "Pass points (N, 2).")
    for name, each in panels.items():
        ok = each.ndim == 2 and each.shape[1] == 2 and len(each) > 0 and bool(np.isfinite(each).all())
        expect(ok, where, "finite points (N, 2)", f"{each.shape} {name}".strip(), "Pass what project returns.")
        ok = labels.shape == (len(each),) and labels.dtype.kind in "iu" and labels.min() >= 0
        expect(ok, where, f"labels ({len(each)},) from 0", labels.shape, "Pass one for each point.")
    classes = int(labels.max()) + 1 if class_names is None else len(class_names)
    expect(int(labels.max()) < classes <= MOST, where, f"labels of up to {MOST} classes", classes, "Leave some out.")
    named = names(where, class_names, classes, 14)

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    across = max(2, min(5, 60 // (max(map(len, named)) + 4)))
    blank = figure(rows * (5.2 / columns + 0.1) + 0.25 + 0.2 * -(-classes // across))
    stack = np.ravel(blank.subplots(rows, columns, squeeze=False))
    size = 3.4 if len(labels) <= 600 else 2.2
    # Drawn in parts, class after class, so that no class lies on top of all others.
    parts = np.array_split(np.arange(len(labels)), 8)
    for axes, (name, each) in zip(stack, panels.items(), strict=False):
        panel(axes, name, grid="")
        axes.set(aspect="equal", xticks=[], yticks=[], adjustable="datalim")
        for part, number in ((part, number) for part in parts for number in range(classes)):
            chosen = part[labels[part] == number]
            look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[number // len(COLOURS)]}
            axes.plot(*each[chosen].T, linestyle="", markersize=size, alpha=0.65, markeredgewidth=0, **look)
        for words, place in zip(
            axes_names if len(panels) == 1 else (), (axes.set_xlabel, axes.set_ylabel), strict=False
        ):
            place(text(words, 60), **style(MUTED))
    for axes in stack[len(panels) :]:
        axes.set_axis_off()
    _legend(blank, named, across)
    return blank


def _legend(blank: "Figure", named: Sequence[str], across: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", color=COLOURS[k % len(COLOURS)], marker=MARKS[k // len(COLOURS)], markersize=6)
        for k in range(len(named))
    ]
    place: dict[str, Any] = {"loc": "outside lower left", "ncols": across, "handletextpad": 0.2, "columnspacing": 1.2}
    for label in blank.legend(handles, named, fontsize=SMALL, frameon=False, **place).get_texts():
        label.set(color=INK, parse_math=False)
