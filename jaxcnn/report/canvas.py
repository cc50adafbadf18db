"""The blank figure every drawing starts from: one width, one palette, ink that follows the reader's scheme."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import numpy as np

from jaxcnn.checking import expect, installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GRID",
    "INK",
    "LOST",
    "MUTED",
    "NORMAL",
    "ORANGE",
    "OURS",
    "PALE",
    "PAPER",
    "SMALL",
    "WIDTH",
    "crosses",
    "drawing",
    "figure",
    "legend_below",
    "names",
    "note",
    "panel",
    "scale",
    "style",
    "text",
]

# Inches. Two figures of this width stand side by side on a laptop; one still reads on a phone 375 px wide.
WIDTH = 5.2
# Paper, text and rules: exchanged for others when the page is read in the dark (`embed.DARK`). The paper is
# painted, not transparent: a browser that does not tell images the scheme must not show dark ink on a dark page.
PAPER, INK, MUTED, GRID = "#ffffff", "#1f2328", "#667085", "#e1e4e8"
# Text on a strong colour, pale in both schemes.
PALE = "#f6f8fa"
# Okabe and Ito's blue and vermilion, which colour-blind readers can tell apart; the latter darker, to be read as text.
BLUE, ORANGE = "#0072b2", "#c25400"
# A pixel without a finite value, in a colour that no picture and no scale has by itself.
LOST = "#ff00ff"
SMALL, NORMAL = 8.5, 10.0  # points
# Marks a figure drawn here, whose colours the page may therefore exchange.
OURS = "jaxcnn-figure"

Options = ParamSpec("Options")


def drawing(draw: "Callable[Options, Figure]") -> "Callable[Options, Figure]":
    """Return `draw` with matplotlib's own defaults, so that its figure is the same under any style."""

    @functools.wraps(draw)
    def drawn(*args: Options.args, **options: Options.kwargs) -> "Figure":
        with installed("jaxcnn.report", "matplotlib", 'pip install "jaxcnn[viz]"'):
            import matplotlib
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **options)

    return drawn


def figure(height: float, *, constrained: bool = True) -> "Figure":
    """Return an empty figure, `height` inches tall; `constrained` gives the texts of its axes the room they need."""
    from matplotlib.figure import Figure

    blank = Figure(figsize=(WIDTH, height), dpi=96, facecolor=PAPER, edgecolor="none")
    if constrained:
        # Room between panels, so that a title is read with the panel below it.
        blank.set_layout_engine("constrained", h_pad=0.1)
    blank.set_gid(OURS)
    return blank


def panel(axes: "Axes", title: str = "", *, grid: Literal["x", "y", ""] = "y") -> "Axes":
    """Return `axes` without its box: title on the left, muted ticks, grid lines along one axis or none (`""`)."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom" and grid == "y")
        spine.set(color=GRID, linewidth=1.0)
    axes.tick_params(which="both", length=0, labelsize=SMALL, labelcolor=MUTED)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    if title:
        axes.set_title(text(title, 40), loc="left", pad=10, **style(INK, NORMAL, fontweight="bold"))
    return axes


def note(axes: "Axes", words: Sequence[str]) -> None:
    """Write what a panel's marks mean on the right of its title, each thing once."""
    axes.set_title(" · ".join(dict.fromkeys(words)), loc="right", pad=10, **style(MUTED))


def legend_below(blank: "Figure", handles: Sequence[Any]) -> None:
    """Name the marks of a figure below it, by their labels; lines are long enough for their dashes to be seen."""
    tight = {"borderpad": 0.0, "borderaxespad": 0.0, "labelspacing": 0.4, "handlelength": 3.2}
    legend = blank.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=SMALL, **tight)
    for label in legend.get_texts():
        label.set(color=INK, parse_math=False)


def crosses(axes: "Axes", places: np.ndarray, colour: str) -> list[str]:
    """Mark the places that have no finite value on the foot of a panel; return the note that says so, if any."""
    if places.size == 0:
        return []
    foot = {"transform": axes.get_xaxis_transform(), "clip_on": False, "in_layout": False, "zorder": 4}
    axes.plot(places, np.zeros(places.size), "x", color=colour, markersize=5, label="not finite", **foot)
    return ["× not finite"]


def style(color: str, size: float = SMALL, **more: Any) -> dict[str, Any]:
    """Return the keywords of a text. Names may hold `$`, so nothing is read as mathematics."""
    return {"color": color, "fontsize": size, "parse_math": False} | more


def text(value: object, limit: int = 18) -> str:
    """Return `value` on one line of at most `limit` characters that an SVG file may hold."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(value))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def names(where: str, class_names: Sequence[object] | None, count: int, limit: int = 18) -> list[str]:
    """Return one short name a class: the given ones, or the class numbers."""
    if class_names is None:
        return [str(number) for number in range(count)]
    fix = "Pass one name for each class, in the order of the labels."
    expect(len(class_names) == count, where, f"{count} class names", len(class_names), fix)
    return [text(name, limit) for name in class_names]


def scale(axes: "Axes", values: np.ndarray, *, logarithmic: bool) -> None:
    """Give the vertical axis the scale of the values: a logarithmic one, if it may be, where they span over 1:1000."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        axes.set_yticks([])
    elif logarithmic and 0 < 1000 * values.min() < values.max():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
