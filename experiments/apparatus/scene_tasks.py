"""Scenes, a classifier of them, and nets on its stages for two tasks: a class for every pixel, boxes of objects."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcnn import data, detection, models, segmentation, training
from jaxcnn.data.scenes import Scenes
from jaxcnn.layers import Normalize, Sequential

__all__ = [
    "CLASSES",
    "SCENES",
    "STRIDE",
    "Task",
    "classifier",
    "decoded",
    "drawn",
    "said",
    "tasks",
]

CLASSES = ("disc", "triangle", "star", "cross", "heart")
SCENES = Scenes(size=32, objects=(1, 2), classes=CLASSES, noise=0.02)
DEPTH = 8  # layers of the ResNet that all nets stand on; the cells of its last stage have 4 pixels
SKIPS = 1  # how many times a net enlarges the maps of the last stage
STRIDE = 2  # pixels of a detector's cell
LIMIT = 10  # boxes of an image
OVERLAP = 0.5  # of boxes of one class, above which the better one alone is kept


class Task(NamedTuple):
    """A net, its loss, and what is measured of it."""

    name: str
    quantity: str
    net: Sequential
    loss: Any
    measure: Callable[[np.ndarray, data.Dataset], float]


def drawn(key: jax.Array, n: int) -> data.Dataset:
    """Return scenes with their classes, masks and boxes."""
    found = SCENES.dataset(key, n)
    kept: dict[str, Any] = {name: found[name] for name in ("object_mask", "instance_mask", "boxes", "box_class")}
    return data.from_arrays(found["image"], found["label"], class_names=CLASSES, name="scenes", **kept)


def classifier(info: data.DatasetInfo, width: int) -> Sequential:
    """Return the net that names the largest object."""
    return _normalized(info, _backbone(width))


def tasks(info: data.DatasetInfo, width: int) -> tuple[Task, Task]:
    """Return segmentation and detection, nets with the classifier's stages."""
    pixels = models.fcn(len(CLASSES) + 1, backbone=_backbone(width), skips=SKIPS, hidden=0)
    boxes = models.centernet(len(CLASSES), backbone=_backbone(width), skips=SKIPS, width=2 * width)
    return (
        Task(
            "segmentation", "mean intersection over union", _normalized(info, pixels),
            segmentation.pixel_loss(dice=1.0, name="object_mask"), _overlap,
        ),
        Task(
            "detection", "average precision at an overlap of 0.5", _normalized(info, boxes),
            detection.centre_loss(STRIDE), _precision,
        ),
    )  # fmt: skip


def said(task: Task, state: training.TrainState, images: np.ndarray | jax.Array) -> np.ndarray:
    """Return the outputs of a task's net for images."""
    seen = {"image": np.asarray(images)}
    return training.predict(task.net, state.params, state.model_state, seen, batch_size=100)


def decoded(outputs: np.ndarray | jax.Array) -> detection.Found:
    """Return the boxes of each image that a detector's outputs stand for."""
    return detection.decode(outputs, stride=STRIDE, limit=LIMIT, overlap=OVERLAP)


def _backbone(width: int) -> Sequential:
    return models.cifar_resnet(DEPTH, len(CLASSES), width=width)


def _normalized(info: data.DatasetInfo, net: Sequential) -> Sequential:
    return Sequential(normalize=Normalize(info.mean, info.std), net=net)


def _overlap(outputs: np.ndarray, test: data.Dataset) -> float:
    truth, found = test["object_mask"].astype(np.int32), outputs.argmax(-1).astype(np.int32)
    counted = np.asarray(segmentation.counts(truth, found, len(CLASSES) + 1))
    return float(segmentation.mean_overlap(len(CLASSES) + 1).summary(counted.sum(0)))


def _precision(outputs: np.ndarray, test: data.Dataset) -> float:
    return detection.average_precision(decoded(outputs), test, len(CLASSES), overlaps=(0.5,)).at(0.5)
