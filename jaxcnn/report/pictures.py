"""Pictures of a data set: a grid of images, and a classifier's most confident mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.report.canvas import INK, MUTED, ORANGE, drawing, names, text
from jaxcnn.report.tiles import gallery, notice, pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["image_grid", "mistakes"]


@drawing
def image_grid(images: np.ndarray, titles: Sequence[str] | None = None, *, columns: int = 8) -> "Figure":
    """Return the images in rows of `columns`, each with its title below it.

    Pixels are drawn as they are, without blur; those that are not finite are painted magenta.

    Args:
        images: (n, h, w), (n, h, w, 1) or (n, h, w, 3); uint8, or floats in [0, 1].
        titles: n texts; a line break begins another line.
        columns: images a row.

    Returns:
        The figure, with one axes that holds one image artist a picture, in order.

    Raises:
        TypeError: images of another dtype.
        ValueError: another shape, floats outside [0, 1], another number of titles, or no column.
    """
    images = pixels("image_grid", images)
    expect(columns > 0, "image_grid", "at least one column", columns, "Pass how many images a row holds.")
    if titles is not None:
        fix = "Pass one title for each image."
        expect(len(titles) == len(images), "image_grid", f"{len(images)} titles", len(titles), fix)
    if len(images) == 0:
        return notice("No images.")
    most = max(80 // columns, 2)
    captions = [[(text(line, most), MUTED) for line in str(title).split("\n")] for title in titles or ()]
    return gallery(images, captions, columns)


@drawing
def mistakes(
    images: np.ndarray,
    true: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    columns: int = 5,
    limit: int = 20,
) -> "Figure":
    """Return the examples that were classified wrongly, the most confident first, or a kind word if there are none.

    Args:
        images: (n, h, w), (n, h, w, 1) or (n, h, w, 3), right and wrong ones; uint8, or floats in [0, 1].
        true: (n,) class numbers.
        predicted: (n,) class numbers.
        confidence: (n,) probability given to the predicted class; a NaN counts as the least confident.
        class_names: what the class numbers stand for; `None` shows the numbers.
        columns: images a row.
        limit: images at most.

    Returns:
        The figure, with one axes that holds one image artist a mistake.

    Raises:
        TypeError: images of another dtype.
        ValueError: arrays of different lengths, a label without a name, or images that `image_grid` refuses.
    """
    images = pixels("mistakes", images)
    count = len(images)
    true, predicted, confidence = np.asarray(true), np.asarray(predicted), np.asarray(confidence, np.float64)
    shapes = [true.shape, predicted.shape, confidence.shape]
    fix = "Pass a label, a prediction and a confidence for each image."
    expect(shapes == [(count,)] * 3, "mistakes", f"three arrays of shape ({count},)", shapes, fix)
    expect(min(columns, limit) > 0, "mistakes", "columns and limit above 0", (columns, limit), "Ask for one.")
    low = int(min(true.min(initial=0), predicted.min(initial=0)))
    high = int(max(true.max(initial=0), predicted.max(initial=0)))
    known = high + 1 if class_names is None else len(class_names)
    fix = "Pass the names of all classes."
    expect(low >= 0 and high < known, "mistakes", f"labels from 0 to {known - 1}", f"{low} to {high}", fix)
    labels = names("mistakes", class_names, known, limit=max(60 // columns, 2))

    wrong = np.flatnonzero(true != predicted)
    if wrong.size == 0:
        return notice(f"No mistakes: all {count:,} images were classified rightly." if count else "No images.")
    order = np.argsort(-np.nan_to_num(confidence[wrong], nan=-1.0), kind="stable")
    shown = wrong[order][:limit]
    captions = [
        [(labels[predicted[i]], ORANGE), (f"{confidence[i]:.0%} sure", MUTED), (f"is {labels[true[i]]}", INK)]
        for i in shown
    ]
    left = wrong.size - shown.size
    return gallery(images[shown], captions, columns, f"{left:,} more mistakes are not shown." if left else "")
