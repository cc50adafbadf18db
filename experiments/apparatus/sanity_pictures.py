"""The pictures of the sanity checks: maps along the cascade, and how alike they stay, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.explain.trust import SanityReport
from jaxcnn.report.canvas import BLUE, GRID, INK, MUTED, ORANGE, SMALL, drawing, figure, panel, style, text
from jaxcnn.report.tiles import in_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cascade_lines", "painted", "rows_of_maps"]

COLUMNS = 3
WORDS = {True: ("passes", BLUE), False: ("fails", ORANGE), None: ("blank maps", MUTED)}


def painted(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return maps (h, w) or (h, w, c) of one size as colours (n, h, w, 3), uint8, each on the scale of its largest.

    Channels are summed. From dark (0) to yellow; with negative values in one of them from blue over grey (0) to red.
    """
    flat = [each.sum(axis=-1) if each.ndim == 3 else each for each in maps]
    signed = min(each.min() for each in flat) < 0
    return np.concatenate([in_colours(each[None], np.abs(each).max() or 1.0, signed) for each in flat])


@drawing
def cascade_lines(report: SanityReport, threshold: float) -> "Figure":
    """Return a panel for each method: how alike its maps stay while layers lose what they learned.

    The line is the mean over images of the rank correlation of absolute maps with all layers down to this one random,
    the band one standard deviation to each side; the dots are the mean with this layer alone random; the dashed line
    is where a method fails.
    """
    names = list(report.verdicts)
    rows = -(-len(names) // COLUMNS)
    blank = figure(0.7 + 1.25 * rows)
    grid = blank.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    places = np.arange(len(report.layers) + 1)
    for axes, name in zip(grid.flat, names, strict=False):
        word, colour = WORDS[report.verdicts[name].passes]
        panel(axes)
        axes.set_title(text(name, 24), loc="left", pad=4, **style(INK, SMALL, fontweight="bold"))
        free = 0.08 if report.verdicts[name].passes is False else 0.86  # where the line is not
        axes.text(0.98, free, word, transform=axes.transAxes, ha="right", **style(colour))
        axes.axhline(threshold, color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)))
        mean, spread = _over_images(report.cascading[name]["rank"])
        axes.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
        axes.plot(places, mean, "-", color=colour, linewidth=1.6, label="all down to here")
        alone, _ = _over_images(report.independent[name]["rank"])
        axes.plot(places[1:], alone[1:], "o", color=colour, markersize=3.5, label="this one alone")
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xticks(places, ["trained", *(text(name, 12) for name in report.layers)], parse_math=False)
        axes.tick_params(axis="x", labelrotation=90, labelcolor=INK)
    for axes in grid.flat:
        axes.set_ylim(-0.25, 1.08)
        axes.set_yticks([0, 0.5, 1])
        axes.grid(True, axis="y", color=GRID, linewidth=0.8)
    return blank


def _over_images(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over images of (layers, images), beginning with the trained net's own 1."""
    values = np.concatenate([np.ones((1, values.shape[1])), values])
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, values, 0)
    mean = np.where(known.any(axis=1), filled.sum(axis=1) / count, np.nan)
    return mean, np.sqrt((np.where(known, values - mean[:, None], 0) ** 2).sum(axis=1) / count)


def rows_of_maps(
    maps: Mapping[str, Sequence[np.ndarray]], verdicts: Mapping[str, bool | None], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the rows and captions of `report.image_rows`: each method's maps, and below them what was random."""
    titles = {name: f"{name}: {WORDS[verdicts[name]][0]}" for name in maps}
    return (
        {titles[name]: painted(found) for name, found in maps.items()},
        {titles[name]: list(names) for name in maps},
    )
