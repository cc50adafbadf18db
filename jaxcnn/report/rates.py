"""How the loss answers to the learning rate."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, crosses, drawing, figure, note, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["learning_rates"]


@drawing
def learning_rates(rates: np.ndarray, losses: np.ndarray, suggestion: float | None = None) -> "Figure":
    """Return the curve of a learning-rate search: the loss against the rate, on a logarithmic scale.

    The panel ends a little above the first loss, so that the explosion at high rates does not flatten what comes
    before.

    Args:
        rates: (n,) learning rates tried, positive.
        losses: (n,) the loss at each; NaN and infinite ones are marked with a cross.
        suggestion: the rate to mark, if any.

    Returns:
        The figure, with one axes.

    Raises:
        ValueError: rates and losses of different lengths, none at all, or a rate that is not positive.
    """
    rates, losses = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    same = rates.ndim == 1 and rates.shape == losses.shape and rates.size > 0
    fix = "Pass the rates tried and the loss at each."
    got = f"{rates.shape} and {losses.shape}"
    expect(same, "learning_rates", "rates and losses of one length (n,)", got, fix)
    positive = bool(np.all(np.isfinite(rates) & (rates > 0)))
    expect(positive, "learning_rates", "positive rates", rates.min(), "Leave out the others.")

    blank = figure(2.8)
    axes = panel(blank.subplots(), "loss")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    finite = np.isfinite(losses)
    axes.plot(rates, np.where(finite, losses, np.nan), "-", color=BLUE, linewidth=1.8, label="loss")
    note(axes, crosses(axes, rates[~finite], BLUE))
    if finite.any():
        first, low, high = losses[finite][0], losses[finite].min(), losses[finite].max()
        top = min(high, first + 0.6 * (first - low)) if first > low else high
        margin = 0.08 * (top - low) or 1.0
        axes.set_ylim(low - margin, top + margin)
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, linewidth=1.2, linestyle=(0, (2, 3)), label="suggestion")
        place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "top"}
        look = style(ORANGE, fontweight="bold", ha="right")
        axes.annotate(f"suggestion {suggestion:.2g}", (suggestion, 1.0), (-5, -3), **place, **look)
    axes.set_xlabel("learning rate", **style(MUTED))
    return blank
