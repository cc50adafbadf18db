"""Which values the pixels of a data set have, channel by channel."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import BLUE, INK, MUTED, drawing, figure, note, panel, style
from jaxcnn.report.tiles import numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["value_histograms"]

BINS = 64
STEEP = 20  # the tallest bin over the median one, from which on the scale is logarithmic
COLOURS = {1: (("grey", MUTED),), 3: (("red", "#c8452f"), ("green", "#2f8f5b"), ("blue", BLUE))}


@drawing
def value_histograms(images: np.ndarray) -> "Figure":
    """Return the histogram of each channel's values, a panel a channel, with mean and standard deviation.

    The height of a bar is the share of the channel's values in it, in percent; where one value dwarfs the others (a
    black ground) the scale is logarithmic.

    Args:
        images: (n, h, w, c), uint8, counted as multiples of 1/255, or floats in [0, 1].

    Returns:
        The figure, with one axes a channel.

    Raises:
        TypeError: images of another dtype.
        ValueError: another rank, no values, or values outside [0, 1].
    """
    images = np.asarray(images)
    good = images.ndim == 4 and images.size > 0
    expect(good, "value_histograms", "images (n, h, w, c)", images.shape, "Put the images in one array.")
    images, whole = numbers("value_histograms", images), images.dtype == np.uint8
    low, high = float(images.min()), float(images.max())
    fix = "Undo the normalisation, or rescale them."
    fits = whole or (low >= 0 and high <= 1)  # false for NaN too
    expect(fits, "value_histograms", "floats in [0, 1]", f"[{low:.3g}, {high:.3g}]", fix)

    channels = images.shape[-1]
    named = COLOURS.get(channels) or [(f"channel {c}", BLUE) for c in range(channels)]
    blank = figure(0.5 + 1.15 * channels)
    stack = blank.subplots(channels, 1, squeeze=False, sharex=True)[:, 0]
    for channel, (axes, (name, colour)) in enumerate(zip(stack, named, strict=True)):
        values = images[..., channel].ravel()
        if whole:  # count the bytes first: exact, and many times faster
            counts = np.bincount(values, minlength=256)
            levels = np.arange(256) / 255
            mean = np.average(levels, weights=counts)
            sd = np.sqrt(np.average((levels - mean) ** 2, weights=counts))
            counts = counts.reshape(BINS, -1).sum(1)
        else:
            counts, _ = np.histogram(values, BINS, (0, 1))
            mean, sd = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        shares = 100 * counts / values.size
        panel(axes, name)
        if shares.max() > STEEP * np.median(shares[shares > 0]):
            axes.set_yscale("log")
        axes.bar((np.arange(BINS) + 0.5) / BINS, shares, width=0.9 / BINS, color=colour)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.axvline(mean, color=INK, linewidth=1.0, linestyle=(0, (2, 3)), label="mean")
        note(axes, [f"mean {mean:.3f}", f"standard deviation {sd:.3f}"])
    stack[-1].set_xlim(0, 1)
    stack[-1].set_xlabel("value: 0 is black, 1 full", **style(MUTED))
    return blank
