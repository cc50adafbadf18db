"""Pictures of a classifier's classes: which is taken for which, and how many examples each has."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import (
    BLUE,
    GRID,
    INK,
    MUTED,
    NORMAL,
    ORANGE,
    PALE,
    SMALL,
    WIDTH,
    drawing,
    figure,
    names,
    panel,
    style,
    text,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["confusion", "label_counts"]

MOST_NUMBERS = 15  # classes: with more of them a cell is too small for its number
MOST_NAMES = 30  # classes: with more of them only some are named
MILD = 0.1  # share of a class's examples: the fewest mistakes that get the full colour


@drawing
def confusion(matrix: np.ndarray, class_names: Sequence[str] | None = None) -> "Figure":
    """Return a confusion matrix, a row a true class, its cells shaded by their share of the row.

    Right answers are blue; mistakes are orange and have a scale of their own, since those of a good classifier
    would vanish on a common one. The numbers on the right are the share of each class that was right. Above 15
    classes the cells carry no numbers, above 30 only some classes are named.

    Args:
        matrix: (n, n) counts (integers) or shares (floats), none negative; a column a predicted class.
        class_names: n names; `None` numbers the classes.

    Returns:
        The figure, with one axes that holds one image and its numbers.

    Raises:
        ValueError: a matrix that is not square, a negative or non-finite entry, or the wrong number of names.
    """
    matrix = np.asarray(matrix)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size > 0
    fix = "Count true classes along the rows and predicted ones along the columns."
    expect(square, "confusion", "a matrix of shape (n, n)", matrix.shape, fix)
    usable = bool(np.all(np.isfinite(matrix) & (matrix >= 0)))
    expect(usable, "confusion", "counts of at least 0", "negative or non-finite ones", fix)
    count = len(matrix)
    labels = names("confusion", class_names, count)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)

    blank = figure(WIDTH - 0.35)
    axes = panel(blank.subplots(), grid="")
    cells = _cells(shares)
    axes.imshow(cells, interpolation="none", aspect="equal")
    _name(axes.xaxis, labels)
    _name(axes.yaxis, labels)
    axes.set_xlabel("predicted", **style(MUTED))
    axes.set_ylabel("true", **style(MUTED))
    if max(map(len, labels)) > 3 or count > MOST_NUMBERS:
        axes.tick_params(axis="x", labelrotation=90)
    if count <= MOST_NAMES:
        axes.set_xticks(np.arange(-0.5, count), minor=True)
        axes.set_yticks(np.arange(-0.5, count), minor=True)
        axes.grid(True, which="minor", color=GRID, linewidth=0.8)
    if count <= MOST_NUMBERS:
        _numbers(axes, matrix, shares)
    return blank


def _cells(shares: np.ndarray) -> np.ndarray:
    """Return the colours (n, n, 4): a share is an opacity, so that an empty cell is paper, light or dark."""
    right = np.eye(len(shares), dtype=bool)
    worst = max(float(shares[~right].max(initial=0.0)), MILD)
    opacity = np.where(right, 0.95 * shares, 0.75 * np.sqrt(shares / worst))
    # The darker blue carries pale numbers; the lighter one stands out by itself in both schemes.
    blue = "#00588a" if len(shares) <= MOST_NUMBERS else "#1f83c4"
    colours = np.where(right[..., None], _rgb(blue), _rgb(ORANGE))
    return np.concatenate([colours, opacity[..., None]], axis=-1)


def _rgb(colour: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8) / 255


def _numbers(axes: "Axes", matrix: np.ndarray, shares: np.ndarray) -> None:
    count = len(matrix)
    size = NORMAL if count <= 10 else SMALL - 1.5
    whole = np.issubdtype(matrix.dtype, np.integer)
    for row, column in np.argwhere(matrix > 0):
        words = str(matrix[row, column]) if whole else f"{matrix[row, column]:.2f}"
        colour = PALE if row == column and shares[row, column] > 0.7 else INK
        axes.text(column, row, words, ha="center", va="center", **style(colour, size))
    axes.text(count - 0.3, -0.6, "right", va="bottom", **style(MUTED))
    for row in range(count):
        words = f"{shares[row, row]:.0%}" if matrix[row].any() else "–"
        axes.text(count - 0.3, row, words, va="center", **style(MUTED))


def _name(axis: "Axis", labels: list[str]) -> None:
    """Name the classes along an axis, or every second, fifth, ... where there are too many."""
    count = len(labels)
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, count) if count <= step * MOST_NAMES)
    axis.set_ticks(range(0, count, every), labels[::every], parse_math=False)


@drawing
def label_counts(counts: Mapping[str, np.ndarray], class_names: Sequence[str] | None = None) -> "Figure":
    """Return the number of examples of each class: one panel of bars a split, on the scale of its largest class.

    Args:
        counts: for each split ("train", "validation", "test") its (n,) counts.
        class_names: n names; `None` numbers the classes.

    Returns:
        The figure, with one axes a split.

    Raises:
        ValueError: no split, splits of different lengths, a negative count, or the wrong number of names.
    """
    arrays = {split: np.asarray(numbers) for split, numbers in counts.items()}
    shapes = sorted({numbers.shape for numbers in arrays.values()})
    alike = len(shapes) == 1 and len(shapes[0]) == 1 and shapes[0] != (0,)
    fix = "Count the labels with numpy.bincount(labels, minlength=n)."
    expect(alike, "label_counts", "counts of one shape (n,) for every split", shapes, fix)
    least = min(float(numbers.min()) for numbers in arrays.values())
    expect(least >= 0, "label_counts", "counts of at least 0", least, fix)
    size = shapes[0][0]
    labels = names("label_counts", class_names, size, limit=16)

    blank = figure(0.9 + min(0.24 * size, 5.5))
    row = blank.subplots(1, len(arrays), squeeze=False, sharey=True)[0]
    for axes, (split, numbers) in zip(row, arrays.items(), strict=True):
        panel(axes, text(split, 14), grid="")
        bars = axes.barh(np.arange(size), numbers, height=0.72, color=BLUE)
        axes.set_xlim(0, 1.35 * max(float(numbers.max()), 1.0))
        axes.set_xticks([])
        axes.set_xlabel(f"{numbers.sum():,} in all", loc="left", **style(MUTED))
        if size <= MOST_NAMES:
            axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, **style(MUTED))
    row[0].set_ylim(size - 0.4, -0.6)
    _name(row[0].yaxis, labels)
    return blank
