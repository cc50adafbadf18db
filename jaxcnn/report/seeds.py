"""One number of several runs, a dot for each seed: what differs by more than chance."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, drawing, figure, panel, style, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["seed_dots"]


@drawing
def seed_dots(
    values: Mapping[str, Sequence[float]], *, quantity: str = "", reference: str | None = None, decimals: int = 2
) -> "Figure":
    """Return the values of several seeds as dots, a line a group, with mean and standard deviation.

    The upright stroke is the mean, the bar reaches one standard deviation (of the sample) to each side; both are
    written at the right.

    Args:
        values: for each group at least one finite number, a seed each.
        quantity: what they are, with the unit.
        reference: the group whose mean is drawn through all lines.
        decimals: how many are written.

    Returns:
        The figure, with one axes.

    Raises:
        ValueError: no group, an empty one, a value that is not finite, or a reference that is no group.
    """
    groups = {name: np.asarray(numbers, np.float64).ravel() for name, numbers in values.items()}
    usable = bool(groups) and all(len(numbers) > 0 and np.isfinite(numbers).all() for numbers in groups.values())
    expect(usable, "seed_dots", "finite numbers in every group", values, "Leave out what has none.")
    known = reference is None or reference in groups
    expect(known, "seed_dots", f"reference as one of {list(groups)}", repr(reference), "Name a group.")

    blank = figure(0.75 + 0.29 * len(groups))
    axes = panel(blank.subplots(), grid="x")
    if reference is not None:
        line = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (3, 3)), "zorder": 0.5}
        axes.axvline(groups[reference].mean(), label="reference", **line)
    for place, numbers in enumerate(groups.values()):
        mean = numbers.mean()
        # Beside each other where they coincide.
        lifted = place + np.linspace(-0.16, 0.16, len(numbers) + 2)[1:-1]
        axes.plot(numbers, lifted, "o", color=BLUE, markersize=4.5, alpha=0.6, markeredgewidth=0, label="seed")
        words = f"{mean:.{decimals}f}"
        if len(numbers) > 1:
            sd = statistics.stdev(numbers)
            axes.plot([mean - sd, mean + sd], [place, place], "-", color=ORANGE, linewidth=1.6, label="sd")
            words += f" ± {sd:.{decimals}f}"
        axes.plot([mean], [place], "|", color=ORANGE, markersize=13, markeredgewidth=2.2, label="mean")
        to_the_right = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(1.02, place, words, **to_the_right, **style(INK))
    axes.set_yticks(range(len(groups)), [text(name, 24) for name in groups], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.set_xlabel(quantity, **style(MUTED))
    return blank
