"""The curves of a training run, epoch by epoch."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, crosses, drawing, figure, note, panel, scale, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves"]

PARTS = {"train_": ("training", BLUE), "validation_": ("validation", ORANGE), "": ("", INK)}
APART = 0.11  # of a panel's height: how far two names beside it must be from each other


class Series(NamedTuple):
    """One line of a panel."""

    label: str
    colour: str
    epochs: np.ndarray
    values: np.ndarray  # NaN where not finite


@drawing
def curves(
    history: Sequence[Mapping[str, Any]], *, names: Sequence[str] | None = None, best: int | None = None
) -> "Figure":
    """Return the curves of a training run: one panel a quantity, training against validation.

    A quantity `q` is what stands in the epochs as `train_q` and `validation_q`, or as `q` itself (the learning
    rate). Epochs where it is missing are skipped; epochs where it is NaN or infinite break the line and are marked
    with a cross. A loss that spans more than three decades is drawn on a logarithmic scale.

    Args:
        history: one mapping an epoch, each with `"epoch"`.
        names: the quantities, a panel each; `None` means all that have a `train_` or `validation_` entry.
        best: the epoch to mark; `None` means the one of the smallest validation loss, if there is one.

    Returns:
        The figure, with one axes a quantity.

    Raises:
        ValueError: an empty history, an epoch without number, or a name that no epoch holds.
    """
    fix = "Draw the curves after training."
    expect(len(history) > 0, "curves", "at least one epoch", "an empty history", fix)
    for row in history:
        expect("epoch" in row, "curves", 'an "epoch" in every row', sorted(row), "Number the epochs from 1.")
    keys = sorted({key for row in history for key in row})
    quantities = _quantities(keys) if names is None else list(names)
    fix = "Record entries such as train_loss."
    expect(bool(quantities), "curves", "at least one quantity to draw", keys, fix)
    lines = {name: _series(history, name) for name in quantities}
    for name, series in lines.items():
        expect(bool(series), "curves", "a name from the history", repr(name), f"It holds {', '.join(keys)}")

    best = _best(history) if best is None else best
    epochs = [row["epoch"] for row in history]
    blank = figure(0.55 + 2.05 * len(lines))
    stack = blank.subplots(len(lines), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, series) in zip(stack, lines.items(), strict=True):
        panel(axes, name.replace("_", " "))
        scale(axes, np.concatenate([line.values for line in series]), logarithmic="loss" in name)
        _draw(axes, series, best)
        _label(axes, series)
    pad = 0.02 * (max(epochs) - min(epochs)) or 0.5
    stack[-1].set_xlim(min(epochs) - pad, max(epochs) + pad)
    stack[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    stack[-1].set_xlabel("epoch", **style(MUTED))
    return blank


def _quantities(keys: Sequence[str]) -> list[str]:
    """Return the quantities of training and validation, the loss first."""
    found = {key.removeprefix(part) for key in keys for part in PARTS if part and key.startswith(part)}
    return sorted(found, key=lambda name: (name != "loss", name))


def _series(history: Sequence[Mapping[str, Any]], name: str) -> list[Series]:
    """Return the lines of a quantity: training, validation, and what stands under its own name."""
    found = []
    for part, (label, colour) in PARTS.items():
        points = [(row["epoch"], row[part + name]) for row in history if row.get(part + name) is not None]
        if points:
            epochs, values = np.asarray(points, np.float64).T
            found.append(Series(label, colour, epochs, np.where(np.isfinite(values), values, np.nan)))
    return found


def _best(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the epoch of the smallest finite validation loss."""
    losses = {row["epoch"]: row.get("validation_loss") for row in history}
    finite = {epoch: loss for epoch, loss in losses.items() if loss is not None and np.isfinite(loss)}
    return min(finite, key=finite.__getitem__, default=None)


def _draw(axes: "Axes", series: list[Series], best: int | None) -> None:
    words = []
    if best is not None:
        axes.axvline(best, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)), zorder=0.5)
    for label, colour, epochs, values in series:
        size = 2.2 if len(epochs) > 1 else 5.0
        axes.plot(epochs, values, "o-", color=colour, linewidth=1.8, markersize=size, label=label)
        chosen = values[epochs == best]
        if label == "validation" and np.isfinite(chosen).any():
            dot = {"markersize": 7, "markeredgewidth": 0, "clip_on": False}
            axes.plot([best], chosen[:1], "o", color=colour, label="best epoch", **dot)
            words.append(f"best epoch {best}: {chosen[0]:.3g}")
    for line in series:
        words += crosses(axes, line.epochs[np.isnan(line.values)], line.colour)
    note(axes, words)


def _label(axes: "Axes", series: list[Series]) -> None:
    """Write each line's name and last value beside its end, kept apart where two lines end close together."""
    axes.autoscale_view()
    to_panel = axes.transData + axes.transAxes.inverted()
    heights = []
    for line in series:
        last = line.values[np.isfinite(line.values)][-1:]
        heights.append(float(to_panel.transform((line.epochs[-1], last[0]))[1]) if last.size else APART / 2)
    order = np.argsort(heights, kind="stable")
    for lower, upper in pairwise(order):
        if heights[upper] - heights[lower] < APART:
            middle = min(max((heights[lower] + heights[upper]) / 2, APART / 2), 1 - APART / 2)
            heights[lower], heights[upper] = middle - APART / 2, middle + APART / 2
    for line, height in zip(series, heights, strict=True):
        last = line.values[np.isfinite(line.values)][-1:]
        words = " ".join([line.label, *(f"{value:.3g}" for value in last)]).strip()
        look = style(line.colour, fontweight="bold")
        axes.text(1.02, height, words, transform=axes.transAxes, va="center", **look)
