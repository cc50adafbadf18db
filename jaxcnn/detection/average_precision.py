"""How well boxes with scores find the true ones: average precision, by COCO's protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxcnn.checking import expect, expect_count, is_number, shown
from jaxcnn.detection.boxes import pair_overlaps
from jaxcnn.detection.found import Found

__all__ = ["AveragePrecision", "average_precision"]

OVERLAPS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # to the bit COCO's: a box may overlap by just 0.85
RECALLS = np.linspace(0, 1, 101)
FOUND, TRUE = ("boxes", "score", "box_class"), ("boxes", "box_class")  # entries of an image
MOST = 100  # boxes of an image and class that count, those of the highest scores


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of each class (row) at each overlap (column), NaN of a class without a true box."""

    table: np.ndarray  # (classes, overlaps), in [0, 1]
    overlaps: tuple[float, ...]  # of intersection by union
    precision: np.ndarray  # (classes, overlaps, 101), at recalls 0, 0.01, ..., 1

    def __float__(self) -> float:
        """Return the mean over classes and overlaps, COCO's AP."""
        return _mean(self.table)

    def at(self, overlap: float) -> float:
        """Return the mean over classes at one overlap: `at(0.5)` is AP50."""
        near = [i for i, value in enumerate(self.overlaps) if abs(value - overlap) < 1e-6]
        fix = "Pass it to average_precision."
        expect(bool(near), "AveragePrecision.at", f"one of {self.overlaps}", shown(overlap), fix)
        return _mean(self.table[:, near[0]])


def average_precision(
    found: Found | Sequence[Mapping[str, Any]],
    truth: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    classes: int,
    *,
    overlaps: Sequence[float] = OVERLAPS,
) -> AveragePrecision:
    """Return the average precision of found boxes: the area below precision against recall.

    In each image, from the best score down, a found box takes the true box of its class that it overlaps most among
    those that are not taken; it is right where that is at least `overlap`. Precision at a recall is the best at that
    recall or a higher one, averaged over 101 recalls.

    Args:
        found: what `decode` returns, or for each image {"boxes": (K, 4), "score": (K,), "box_class": (K,)}; rows of
            class -1 are no boxes. Of one class the 100 boxes with the highest scores count.
        truth: a data set or mapping with "boxes" (N, M, 4) and "box_class", integers (N, M), or for each image
            {"boxes": (M, 4), "box_class": (M,)}; rows of class -1 are no boxes. In an image without a box everything
            found is wrong.
        classes: how many there are.
        overlaps: of intersection by union, from which on a box is found; COCO's 0.5, 0.55, ..., 0.95 unless given.

    Returns:
        The table; `float(result)` is COCO's AP, `result.at(0.5)` its AP50.

    Raises:
        ValueError: overlaps outside [0, 1], another number of images, entries that are missing, boxes of other shapes,
            values that are not finite, inverted true boxes, classes that there are not.
        TypeError: classes that are not integers.

    Source: Lin et al. 2014 and its evaluation; agrees with pycocotools (area "all", 100 boxes of an image and class).
    """
    where = "average_precision"
    classes = expect_count(where, "classes", classes)
    found = found.rows() if isinstance(found, Found) else found
    if isinstance(truth, Mapping):
        _expect_entries(where, "true", truth, TRUE)
        truth = [dict(zip(TRUE, row, strict=True)) for row in zip(*(truth[name] for name in TRUE), strict=True)]
    ok = len(found) == len(truth) > 0
    expect(ok, where, "as many images found as true, at least one", f"{len(found)} and {len(truth)}", "Pass both.")
    ok = isinstance(overlaps, Sequence | np.ndarray | jax.Array) and len(overlaps) > 0
    ok = ok and all(is_number(overlap) and 0 <= overlap <= 1 for overlap in overlaps)
    expect(ok, where, "overlaps as numbers in [0, 1], at least one", shown(overlaps), "Pass [0.5], say.")
    overlaps = tuple(map(float, overlaps))
    images = [_image(where, *pair, classes) for pair in zip(found, truth, strict=True)]
    precision = np.full((classes, len(overlaps), len(RECALLS)), np.nan)
    for label in range(classes):
        rows = [_matched(image, label, np.asarray(overlaps)) for image in images]
        total = sum(count for _, _, count in rows)
        if total:
            scores = np.concatenate([score for score, _, _ in rows])
            right = np.concatenate([right for _, right, _ in rows], axis=1)
            order = np.argsort(-scores, kind="mergesort")
            precision[label] = [_at_recalls(row[order], total) for row in right]
    return AveragePrecision(precision.mean(-1), overlaps, precision)


def _mean(values: np.ndarray) -> float:
    """Return the mean of those that are known, NaN where none is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _expect_entries(where: str, which: str, rows: Any, names: Sequence[str]) -> None:
    ok = isinstance(rows, Mapping) and all(name in rows for name in names)
    got = list(rows) if isinstance(rows, Mapping) else type(rows).__name__
    expect(
        ok, where, f"{which} boxes as a mapping with {', '.join(names)}", shown(got), "Found.rows() makes found ones."
    )


def _image(where: str, found: Mapping[str, Any], truth: Mapping[str, Any], classes: int) -> tuple[np.ndarray, ...]:
    _expect_entries(where, "found", found, FOUND)
    _expect_entries(where, "true", truth, TRUE)
    boxes, scores, labels = (np.asarray(found[name]) for name in FOUND)
    true, kinds = (np.asarray(truth[name]) for name in TRUE)
    for name, rows, others in (("found", boxes, (scores, labels)), ("true", true, (kinds,))):
        ok = rows.ndim == 2 and rows.shape[1] == 4 and all(other.shape == rows.shape[:1] for other in others)
        got = [rows.shape, *(other.shape for other in others)]
        expect(ok, where, f"{name} boxes (K, 4) with a row of each entry", shown(got), "Give one image at a time.")
    for name, given in {"found": labels, "true": kinds}.items():
        ok = given.dtype.kind in "iu" or not given.size  # an empty list has no dtype of its own
        expect(ok, where, f"{name} box_class of an integer dtype", given.dtype, "Number the classes from 0.", TypeError)
    known = np.concatenate([labels, kinds])
    ok = not known.size or (known.min() >= -1 and known.max() < classes)
    expect(ok, where, f"classes in 0..{classes - 1}, or -1 for no box", shown(known.tolist()), "Number them from 0.")
    seen, there = np.column_stack([boxes, scores])[labels >= 0].astype(float), true[kinds >= 0].astype(float)
    for name, values in {"found boxes and scores": seen, "true boxes": there}.items():
        bad = values[~np.isfinite(values).all(1)]
        expect(not len(bad), where, f"finite {name}", shown(bad[:5].tolist()), "Look where they come from.")
    inverted = there[(there[:, 2:] < there[:, :2]).any(1)]
    expect(not len(inverted), where, "true boxes x0, y0, x1, y1", shown(inverted.tolist()), "Swap their ends.")
    return seen[:, :4], seen[:, 4], labels[labels >= 0], there, kinds[kinds >= 0]


def _matched(image: tuple[np.ndarray, ...], label: int, overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return scores of the boxes of a class, which are right at each overlap, and how many true ones there are."""
    boxes, scores, labels, true, kinds = image
    mine, true = labels == label, true[kinds == label]
    boxes, scores = boxes[mine], scores[mine]
    order = np.argsort(-scores, kind="mergesort")[:MOST]
    boxes, scores = boxes[order], scores[order]
    right = np.zeros((len(overlaps), len(boxes)), bool)
    if len(boxes) and len(true):
        shared = pair_overlaps(boxes, true, np)
        for row, overlap in zip(right, overlaps, strict=True):
            free = np.ones(len(true), bool)
            for number, pairs in enumerate(shared):
                left = np.where(free, pairs, -1)
                best = len(left) - 1 - int(left[::-1].argmax())  # of equal ones the last, as COCO does
                if left[best] >= min(overlap, 1 - 1e-10):
                    row[number], free[best] = True, False
    return scores, right, len(true)


def _at_recalls(right: np.ndarray, total: int) -> np.ndarray:
    """Return the best precision at each recall or a higher one; 0 where it is never reached."""
    hits = right.cumsum()
    recall, precision = hits / total, hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return np.append(best, 0)[at]
