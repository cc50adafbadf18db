"""What is seen of a net's layers: their units, and how images lie in their features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.apparatus.attributions import trunk_paths
from experiments.apparatus.trained import Trained
from jaxcnn import data
from jaxcnn.explain import inside, probes
from jaxcnn.explain.inner import layer_shapes
from jaxcnn.layers.layer import Layer
from jaxcnn.surgery.tree import modules, unwrapped

PIXELS = "pixels"
FEATURES = 1024  # numbers of an image, at most, that a layer's maps are averaged down to


class Units(NamedTuple):
    """The units of one layer; `chosen` are some, whose strongest `patches` (chosen, count, h, w, C) `top` tells of."""

    shape: tuple[int, ...]
    field: inside.ReceptiveField
    statistics: inside.UnitStatistics
    means: np.ndarray
    selectivity: np.ndarray
    chosen: np.ndarray
    top: inside.TopImages
    patches: np.ndarray


class Space(NamedTuple):
    """How test images lie in the features of a layer, a row each; `nearest` (tests, k) are training images."""

    features: np.ndarray
    accuracy: float
    silhouette: float
    nearest: np.ndarray


def activation_functions(net: Layer) -> list[str]:
    """Return the paths of the layers that are plain functions, in order."""
    return [path for path, layer in modules(net).items() if not isinstance(unwrapped(layer), Layer)]


def behind_activations(found: Trained, most: int = 6) -> list[str]:
    """Return paths of layers behind activation functions, the first, the last, and some between; else of any."""
    shapes = layer_shapes(*found[:3], found.train.spec, trunk_paths(found.net))
    leaves = [path for path, shape in shapes.items() if len(shape) in (2, 4)]
    known = [path for path in activation_functions(found.net) if path in leaves] or leaves
    return [known[i] for i in np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))]


def units_of(found: Trained, images: data.Dataset, at: Sequence[str], units: int, count: int) -> dict[str, Units]:
    """Return what the units of each layer do on the images, and the most selective of them with their patches."""
    net, params, state = found[:3]
    fields = inside.receptive_fields(net, images.spec, at)
    views = {}
    for path in at:
        statistics = inside.unit_statistics(net, params, state, images, path)
        means = inside.class_means(net, params, state, images, images["label"], path)
        selectivity = selective(means, statistics)
        chosen = one_a_class(means, selectivity, units)
        top = inside.top_images(net, params, state, images, path, units=chosen, count=min(count, images.size))
        patches = inside.patches(images["image"][top.index], fields[path], top.position)
        shape = (len(fields[path].rows), len(fields[path].columns), len(selectivity))
        views[path] = Units(shape, fields[path], statistics, means, selectivity, np.asarray(chosen), top, patches)
    return views


def selective(means: np.ndarray, statistics: inside.UnitStatistics) -> np.ndarray:
    """Return `class_selectivity`; where units can be below 0, their best class's lead in standard deviations."""
    if np.nanmin(means) >= 0:
        return inside.class_selectivity(means)
    known = means[~np.isnan(means).any(axis=1)]
    best = known.max(axis=0)
    others = (known.sum(axis=0) - best) / max(len(known) - 1, 1)
    return (best - others) / np.maximum(statistics.sd, 1e-12)


def one_a_class(means: np.ndarray, selectivity: np.ndarray, count: int) -> list[int]:
    """Return the most selective units: of each class one, before a second one of any."""
    order = np.argsort(-selectivity, kind="stable").tolist()
    best = np.nanargmax(means, axis=0).tolist()
    place = {unit: sum(best[other] == best[unit] for other in order[:at]) for at, unit in enumerate(order)}
    return sorted(order, key=lambda unit: place[unit])[:count]


def spaces_of(
    found: Trained, train: data.Dataset, test: data.Dataset, at: Sequence[str], neighbours: int
) -> dict[str, Space]:
    """Return how the test images lie as pixels and in the features of each layer."""
    features = [
        {PIXELS: part["image"].reshape(part.size, -1) / np.float32(255 if part["image"].dtype == np.uint8 else 1)}
        | probes.layer_features(*found[:3], part, at, limit=FEATURES)
        for part in (train, test)
    ]
    return {
        name: space(features[0][name], train["label"], rows, test["label"], neighbours)
        for name, rows in features[1].items()
    }


def space(features: np.ndarray, labels: np.ndarray, others: np.ndarray, true: np.ndarray, neighbours: int) -> Space:
    """Return how `others` lie among themselves, and among the features whose labels vote on theirs."""
    from sklearn.metrics import silhouette_score

    index = inside.nearest(features, others, neighbours).index
    classes = range(int(max(labels.max(), true.max())) + 1)
    votes = np.stack([(labels[index] == one).sum(axis=1) for one in classes], axis=1)
    first = (labels[index][:, :1] == np.arange(votes.shape[1])) * 0.5  # of equal votes the nearest one's
    accuracy = float(((votes + first).argmax(axis=1) == true).mean())
    return Space(others, accuracy, float(silhouette_score(others, true)), index)
