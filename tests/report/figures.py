"""What a figure shows, in the order in which it was drawn."""

import numpy as np


def drawn(figure) -> list:
    """Return the images of the figure's first axes."""
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def words(figure) -> list:
    """Return the texts of the figure's first axes."""
    return [text.get_text() for text in figure.axes[0].texts]


def lines(axes, label) -> list:
    """Return the points of the lines of one name."""
    return [line.get_xydata() for line in axes.lines if line.get_label() == label]
