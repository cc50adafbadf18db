"""One quantity of several runs in one chart: which learns faster, and which ends better?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    crosses,
    drawing,
    figure,
    legend_below,
    note,
    panel,
    scale,
    style,
    text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "DASHES", "LONGEST", "MOST", "overlay"]

# In this order, whatever the runs: with a contrast of 3 on the light and the dark page, and apart for colour-blind
# readers too, which leaves no place for a green. Beyond five runs, and on grey paper, the dashes tell them apart; and
# a line shows through the gaps of another that lies on it.
COLOURS = (BLUE, ORANGE, "#aa00ff", INK, "#888888")
DASHES = ((0, ()), (0, (5, 1.5)), (0, (1, 1)), (0, (7, 1.5, 1, 1.5)))
MOST = 12  # runs: as many pairs of a colour and dashes are different
LONGEST = 56  # characters of a name below the chart

History = Sequence[Mapping[str, Any]]


@drawing
def overlay(runs: Mapping[str, Sequence[History]], quantity: str) -> "Figure":
    """Return the curves of one quantity of several runs in one panel, with their names and last values below it.

    Of a run with several seeds the line is the mean and the band reaches one standard deviation (of the sample) to
    each side, as far as every seed went; what some seeds have beyond is drawn thin. Epochs whose value is NaN or
    infinite break a line and are marked with a cross. The n-th run has the n-th colour in every chart, also where it
    lacks the quantity and has no line. A loss that spans more than three decades has a logarithmic scale.

    Args:
        runs: for each name at least one history, a seed each: one mapping an epoch, with `"epoch"`.
        quantity: the entry to draw, such as `"validation_loss"`.

    Returns:
        The figure, with one axes and a legend.

    Raises:
        ValueError: no run or more than 12, a run without history, or a quantity that no epoch holds.
    """
    fix = "Leave some out."
    expect(0 < len(runs) <= MOST, "overlay", f"1 to {MOST} runs", len(runs), fix)
    empty = [name for name, seeds in runs.items() if not seeds]
    expect(not empty, "overlay", "a history of every run", f"none of {empty}", "Leave those out.")
    lines = {name: [_points(history, quantity) for history in seeds] for name, seeds in runs.items()}
    points = [seed for seeds in lines.values() for seed in seeds]
    found = np.concatenate([epochs for epochs, _ in points])
    held = sorted({key for seeds in runs.values() for history in seeds for row in history for key in row})
    expect(found.size > 0, "overlay", "a quantity from the histories", repr(quantity), f"They hold {', '.join(held)}.")

    blank = figure(3.2 + 0.17 * len(runs))
    axes = panel(blank.subplots(), quantity.replace("_", " "))
    scale(axes, np.concatenate([values for _, values in points]), logarithmic="loss" in quantity)
    words, entries = [], []
    for place, (name, seeds) in enumerate(lines.items()):
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.7}
        marks, last = _draw(axes, seeds, look)
        words += marks
        if last is not None:
            (entry,) = axes.plot([], [], label=f"{_middle_cut(name, LONGEST)}: {last}", **look)
            entries.append(entry)
    note(axes, words)
    legend_below(blank, entries)
    pad = 0.02 * (found.max() - found.min()) or 0.5
    axes.set_xlim(found.min() - pad, found.max() + pad)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.set_xlabel("epoch", **style(MUTED))
    return blank


def _points(history: History, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and values of a quantity where it is, NaN for values that are not finite."""
    points = [(row["epoch"], row[quantity]) for row in history if row.get(quantity) is not None]
    epochs, values = np.asarray(points, np.float64).reshape(-1, 2).T
    return epochs, np.where(np.isfinite(values), values, np.nan)


def _draw(
    axes: "Axes", seeds: list[tuple[np.ndarray, np.ndarray]], look: dict[str, Any]
) -> tuple[list[str], str | None]:
    """Draw a run; return what its marks mean, and its last value as text, `None` of a run without the quantity."""
    common = sorted(set.intersection(*(set(epochs) for epochs, _ in seeds)))
    values = np.stack([of[np.isin(epochs, common)] for epochs, of in seeds])
    mean, words = values.mean(axis=0), []
    axes.plot(common, mean, label="mean", **look)
    # A line needs two points: others are dots.
    finite = np.pad(np.isfinite(mean), 1)
    lonely = finite[1:-1] & ~finite[:-2] & ~finite[2:]
    axes.plot(np.asarray(common)[lonely], mean[lonely], "o", color=look["color"], markersize=5, label="alone")
    deviation = ""
    if len(seeds) > 1:
        sd = values.std(axis=0, ddof=1)
        band = {"color": look["color"], "alpha": 0.18, "linewidth": 0, "label": "sd"}
        axes.fill_between(common, mean - sd, mean + sd, **band)
        words.append("band: ± sd of seeds")
        deviation = f" ± {sd[-1]:.2g}" if common else ""
    for epochs, of in seeds:
        beyond = ~np.isin(epochs, common[:-1])
        if beyond.sum() > 1:
            axes.plot(epochs[beyond], of[beyond], **look | {"linewidth": 0.8, "label": "beyond"})
        words += crosses(axes, epochs[np.isnan(of)], look["color"])
    if not any(epochs.size for epochs, _ in seeds):
        return words, None
    return words, f"{mean[-1]:.4g}{deviation}" if common else ""


def _middle_cut(name: str, limit: int) -> str:
    """Return a name on one line of at most `limit` characters, of which the beginning and the end stay."""
    line = text(name, len(name) + 1)
    half = limit // 2
    return line if len(line) <= limit else f"{line[: limit - half]}…{line[1 - half :]}"
