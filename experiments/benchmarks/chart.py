"""The charts of the benchmarks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcnn.report.canvas import BLUE, MUTED, ORANGE, drawing, figure, note, panel, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@drawing
def ratios(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Return the ratios of all cases: a panel a mode, a line a net, a dot a peer with its quartiles.

    The best JAX peer of a net is blue, the other JAX peers are grey, PyTorch is orange.

    Args:
        rows: "mode", "net", "peer", "ratio", "low" and "high"; rows without a ratio are left out.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    rows = [row for row in rows if "ratio" in row]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    nets = list(dict.fromkeys(row["net"] for row in rows))
    blank = figure(0.6 + len(modes) * (0.65 + 0.28 * len(nets)))
    for axes, mode in zip(blank.subplots(len(modes), 1, squeeze=False)[:, 0], modes, strict=True):
        panel(axes, mode, grid="x")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.axvline(1.0, color=MUTED, linewidth=1.2)
        here = [row for row in rows if row["mode"] == mode]
        axes.set_xlim(min(0.5, *(0.9 * row["low"] for row in here)), max(2.0, *(1.1 * row["high"] for row in here)))
        for height, net in enumerate(nets):
            of_net = [row for row in here if row["net"] == net]
            best = min((row["ratio"] for row in of_net if row["peer"] != "torch"), default=None)
            for row in of_net:
                torch = row["peer"] == "torch"
                colour = ORANGE if torch else BLUE if row["ratio"] == best else MUTED
                axes.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.2)
                axes.plot(row["ratio"], height, "D" if torch else "o", color=colour, markersize=5)
                if colour == BLUE:
                    place = {"textcoords": "offset points", "ha": "center"}
                    axes.annotate(f"{row['ratio']:.2f}", (best, height), (0, 5), **place, **style(BLUE))
        axes.set_yticks(range(len(nets)), nets)
        axes.set_ylim(len(nets) - 0.5, -0.7)
    note(blank.axes[0], ["best JAX peer blue", "PyTorch orange"])
    blank.axes[-1].set_xlabel("time of the peer / time of jaxcnn", **style(MUTED))
    return blank


@drawing
def against(
    quantity: str,
    name: str,
    x: Sequence[int],
    values: np.ndarray,
    *,
    fit: tuple[float, float] | None = None,
    doubling: bool = False,
) -> "Figure":
    """Return a quantity against what it depends on: a dot for each median, a stroke between its quartiles.

    Args:
        quantity: what is measured, with the unit; name: of what it depends on.
        x: (n,) rising.
        values: (n, 3): quartile, median and quartile.
        fit: a and b of the line a + b x, drawn orange.
        doubling: whether the axis of x is one of powers of two.
    """
    from matplotlib.ticker import NullLocator

    blank = figure(2.8)
    axes = panel(blank.subplots(), quantity)
    axes.vlines(x, values[:, 0], values[:, 2], color=BLUE, linewidth=1.4)
    axes.plot(x, values[:, 1], "o", color=BLUE, markersize=5)
    if fit is not None:
        ends = np.asarray([0, max(x)])
        axes.plot(ends, fit[0] + fit[1] * ends, color=ORANGE, linewidth=1.2, zorder=0.5)
        note(axes, ["measured blue", "fitted orange"])
    if doubling:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(x, [str(count) for count in x])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(name, **style(MUTED))
    return blank
