"""The largest object of scenes in which a net finds it: the score that stands for it, and whether it is still there."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logit

from experiments.apparatus.scene_tasks import CLASSES, STRIDE, Task, decoded
from jaxcnn import data, detection, report, segmentation
from jaxcnn.checking import expect

__all__ = ["CLEAR", "Objects", "largest_objects"]

CLEAR = 0.3  # the least score of a box that counts
SAME = 0.5  # the least overlap of boxes, or of masks, of one object
TURNED = 0.9  # the least share of an object's pixels that have another class where it is erased

Score = Callable[[Any], jax.Array]


class Judged(NamedTuple):
    """What became of the objects, (n,) each."""

    erased: np.ndarray  # bool
    elsewhere: np.ndarray  # the share of the net's other answers that stay, in [0, 1]


class Objects(NamedTuple):
    """Scenes, what a net says of them, and the object of each that is looked at."""

    scenes: data.Dataset
    x: jax.Array  # the images, in [0, 1]
    region: np.ndarray  # bool (n, H, W), the object's true pixels
    asked: Score  # outputs -> (n,): what is explained
    there: Score  # outputs -> (n,): the object is there where it is above
    threshold: float
    judge: Callable[[np.ndarray], Judged]  # of other outputs
    draw: Callable[[np.ndarray, np.ndarray, list[str]], Any]  # images, outputs of them, captions -> a figure
    erasing: str  # what it means
    elsewhere: str
    drawn: str  # what the figure shows


def largest_objects(task: Task, test: data.Dataset, outputs: np.ndarray, most: int) -> Objects:
    """Return the largest object of the first scenes, `most` at most, in which the net finds it."""
    of = {"segmentation": _masks, "detection": _boxes}[task.name]
    return of(test, outputs, test["instance_mask"] == 1, most)


def _masks(test: data.Dataset, outputs: np.ndarray, region: np.ndarray, most: int) -> Objects:
    before, label = outputs.argmax(-1).astype(np.int32), test["label"].astype(np.int32) + 1
    own = (before == label[:, None, None]) & (test["instance_mask"] <= 1)  # not those of another one of its class
    overlap = (own & region).sum((1, 2)) / np.maximum((own | region).sum((1, 2)), 1)
    at = _first(overlap >= SAME, most)
    scenes, before, label, own, region = test.take(at), before[at], label[at], own[at], region[at]

    def judge(outputs: np.ndarray) -> Judged:
        after = outputs.argmax(-1)
        turned = ((after != label[:, None, None]) & own).sum((1, 2)) / own.sum((1, 2))
        return Judged(turned >= TURNED, ((after == before) & ~own).sum((1, 2)) / (~own).sum((1, 2)))

    def draw(images: np.ndarray, outputs: np.ndarray, captions: list[str]) -> Any:
        truth = np.repeat(scenes["object_mask"], 2, axis=0)[: len(images)].astype(np.int32)
        return report.masks(images, truth, outputs.argmax(-1).astype(np.int32), ("ground", *CLASSES), captions)

    return Objects(
        scenes, data.to_float(jnp.asarray(scenes["image"])), region, segmentation.class_score(label, own),
        segmentation.class_margin(label, own), 0.0, judge, draw,
        f"{TURNED:.0%} of the pixels that the net gave to the object have another class",
        "pixels elsewhere keep their class",
        "Each image has the true mask and the one found beside it.",
    )  # fmt: skip


def _boxes(test: data.Dataset, outputs: np.ndarray, region: np.ndarray, most: int) -> Objects:
    boxes, clear, kinds = _found(outputs)
    right = _alike(boxes, test["boxes"][:, :1])[..., 0] & clear & (kinds == test["label"][:, None])
    at = _first(right.any(1), most)
    scenes, region, boxes, clear, kinds = test.take(at), region[at], boxes[at], clear[at], kinds[at]
    box = np.take_along_axis(boxes, right[at].argmax(1)[:, None, None], 1)[:, 0]  # the best one: scores fall
    others = clear & ~_alike(boxes, box[:, None])[..., 0]

    def judge(outputs: np.ndarray) -> Judged:
        after, visible, now = _found(outputs)
        mine = _alike(after, box[:, None])[..., 0] & visible
        new = visible & ~mine
        same = _alike(boxes, after) & (kinds[..., None] == now[:, None]) & others[..., None] & new[:, None]
        either = others.sum(1) + (new & ~same.any(1)).sum(1)
        return Judged(~mine.any(1), np.where(either > 0, same.any(2).sum(1) / np.maximum(either, 1), 1.0))

    def draw(images: np.ndarray, outputs: np.ndarray, captions: list[str]) -> Any:
        wanted = [{"boxes": box[n // 2][None], "box_class": np.zeros(1, int)} for n in range(len(images))]
        return report.boxes(images, wanted, decoded(outputs).rows(CLEAR), CLASSES, captions, columns=6)

    return Objects(
        scenes, data.to_float(jnp.asarray(scenes["image"])), region,
        detection.object_score(box, scenes["label"], stride=STRIDE), detection.object_score(box, stride=STRIDE),
        float(logit(CLEAR)), judge, draw,
        f"no box of a score of {CLEAR} or more overlaps the object's by {SAME}",
        "boxes elsewhere, of before or after, are the same before and after",
        f"The box that is to vanish is dashed in blue, those of a score of {CLEAR} or more are orange.",
    )  # fmt: skip


def _first(finds: np.ndarray, most: int) -> np.ndarray:
    """Return the first scenes in which the net finds the object; raise `ValueError` where there are less than two."""
    at = np.flatnonzero(finds)[:most]
    what, fix = "two scenes or more in which the net finds the largest object", "Train longer, or draw more scenes."
    expect(len(at) >= 2, "largest_objects", what, f"{len(at)} of {len(finds)}", fix)
    return at


def _found(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of each image (n, K, 4), whether each counts, and their classes."""
    boxes, score, label = (np.asarray(part) for part in decoded(outputs))
    return boxes, score >= CLEAR, label


def _alike(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes (n, K, 4) and others (n, M, 4) may be of one object, (n, K, M)."""
    return np.asarray(detection.intersection_over_union(jnp.asarray(boxes), jnp.asarray(others))) >= SAME
