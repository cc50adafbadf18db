"""Lines with their spread over seeds: what most experiments of training practice show."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, drawing, figure, panel, style, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["spread_lines"]

# Okabe and Ito's, which colour-blind readers can tell apart, dark enough to be read as text.
COLOURS = (BLUE, ORANGE, "#007a58", "#a3457b", MUTED)


@drawing
def spread_lines(
    quantity: str,
    name: str,
    x: Sequence[float] | np.ndarray,
    groups: Mapping[str, np.ndarray],
    *,
    logarithmic: str = "",
    marks: Mapping[str, float] | None = None,
    ticks: bool = False,
) -> "Figure":
    """Return a line for each group: the mean over seeds, and one standard deviation to each side as a band.

    Args:
        quantity: what is drawn, with the unit.
        name: of what it depends on.
        x: (n,) places.
        groups: name -> values, (seeds, n); NaN and infinite ones break a line. Five groups at most.
        logarithmic: the axes that are: "", "x", "y" or "xy".
        marks: name -> place, upright lines.
        ticks: whether the places are the ticks of the axis of x.
    """
    from matplotlib.ticker import NullLocator

    expect(len(groups) <= len(COLOURS), "spread_lines", f"{len(COLOURS)} lines at most", len(groups), "Leave some out.")
    blank = figure(3.0)
    axes = panel(blank.subplots(), quantity)
    places = np.asarray(x, np.float64)
    ends: list[tuple[float, str, str]] = []
    for (label, values), colour in zip(groups.items(), COLOURS, strict=False):
        values = np.asarray(values, np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        mean = values.mean(axis=0)
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
        low = np.maximum(mean - sd, mean / 10) if "y" in logarithmic else mean - sd
        axes.fill_between(places, low, mean + sd, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            places, mean, "-o" if len(places) <= 16 else "-", color=colour, linewidth=1.6, markersize=4, label=label
        )
        known = mean[np.isfinite(mean)]
        if known.size:
            ends.append((float(known[-1]), text(label, 30), colour))
    for axis in logarithmic:
        getattr(axes, f"set_{axis}scale")("log")
        getattr(axes, f"{axis}axis").set_major_formatter(lambda value, _: f"{value:g}")
    if ticks:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(places, [f"{place:g}" for place in places])
    for label, place in (marks or {}).items():
        axes.axvline(place, color=MUTED, linewidth=1.2, linestyle=(0, (2, 3)))
        where = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "top"}
        axes.annotate(text(label, 24), (place, 1.0), (4, -2), **where, **style(MUTED))
    blank.canvas.draw()  # the limits, before the names find their places
    heights = [axes.transAxes.inverted().transform(axes.transData.transform((places[-1], end)))[1] for end, *_ in ends]
    free = 1.05
    for index in np.argsort(heights)[::-1].tolist():  # from above, a line apart at least
        free = min(free - 0.08, heights[index])
        axes.text(1.02, free, ends[index][1], transform=axes.transAxes, va="center", **style(ends[index][2]))
    axes.set_xlabel(name, **style(MUTED))
    return blank
