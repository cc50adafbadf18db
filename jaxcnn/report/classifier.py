"""The sections of a page about a trained classifier: its training, its mistakes, what it learned, its layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.views import View
from jaxcnn.classifier import logits_of
from jaxcnn.data.dataset import Dataset, to_float
from jaxcnn.layers.layer import Layer
from jaxcnn.losses import confusion_matrix
from jaxcnn.report.classes import confusion, label_counts
from jaxcnn.report.epochs import curves
from jaxcnn.report.insides import feature_maps, filters
from jaxcnn.report.page import Picture, Section, Verbatim
from jaxcnn.report.pictures import mistakes
from jaxcnn.summary import summarize
from jaxcnn.surgery import paths
from jaxcnn.surgery.taps import inside
from jaxcnn.surgery.tree import leaf_paths
from jaxcnn.training.evaluation import predict
from jaxcnn.training.run import FitResult

__all__ = ["classifier_sections"]

ROWS = 10
"""Layers at most in the picture of activations."""


def classifier_sections(net: Layer, result: FitResult, test: Dataset, *, views: Sequence[View] = ()) -> list[Section]:
    """Return the sections of a page about a net that `fit` trained to classify.

    Args:
        net: the net.
        result: what `fit` returned for it.
        test: labelled images that decided nothing.
        views: over which predictions are averaged, as for `training.evaluate`.

    Returns:
        Four `Section`s: training, mistakes, what the net learned, its layers.
    """
    logits = logits_of(predict(net, result.state.params, result.state.model_state, test, views=views))
    return [
        _training(result, test),
        _mistakes(logits, test),
        _insides(net, result, test),
        Section("The net", [Verbatim(str(summarize(net, test.spec)), "Multiply-adds are those of one image.")]),
    ]


def _training(result: FitResult, test: Dataset) -> Section:
    parts = {"train": result.train, "validation": result.validation, "test": test}
    names = test.info.class_names
    counts = {n: np.bincount(p["label"], minlength=len(names)) for n, p in parts.items() if p is not None}
    sizes = ", ".join(f"{int(count.sum()):,} {name}" for name, count in counts.items())
    return Section(
        "Training",
        [
            Picture(
                curves(result.history, best=result.best_epoch),
                f"Means over each epoch; the result is the state after epoch {result.best_epoch}.",
                "Loss and metrics by epoch, training against validation.",
            ),
            Picture(
                label_counts(counts, names), f"Images of each class: {sizes}.", "Bars: images of each class by part."
            ),
        ],
    )


def _mistakes(logits: np.ndarray, test: Dataset) -> Section:
    names = test.info.class_names
    predicted = logits.argmax(axis=-1)
    confidence = np.asarray(jax.nn.softmax(jnp.asarray(logits), axis=-1)).max(axis=-1)
    matrix = np.asarray(confusion_matrix(test["label"], predicted, len(names)))
    wrong = int((predicted != test["label"]).sum())
    return Section(
        "Mistakes",
        [
            Picture(
                confusion(matrix, names),
                f"{wrong} of {test.size} test images are wrong. Rows: the true class; columns: the answer.",
                "Confusion matrix of the test set.",
            ),
            Picture(
                mistakes(test["image"], test["label"], predicted, confidence, names),
                "The mistakes the net was surest of come first." if wrong else "There are none to show.",
                "Test images that were classified wrongly, with the true class, the answer and its confidence.",
            ),
        ],
    )


def _insides(net: Layer, result: FitResult, test: Dataset) -> Section:
    kernels = [leaf for leaf in jax.tree.leaves(result.state.params) if leaf.ndim == 4]
    blocks: list[Any] = []
    if (kernel := first_kernel(result.state.params, net)) is not None:
        blocks.append(
            Picture(
                filters(np.asarray(kernel)),
                f"The {kernel.shape[-1]} filters of the first convolution; there are {len(kernels)} convolutions.",
                "Learned filters of the first layer as small images.",
            )
        )
    image = test["image"][0]
    maps = activation_maps(net, result.state.params, result.state.model_state, image)
    if maps:
        blocks.append(
            Picture(
                feature_maps(maps, image),
                f"The first test image, a {test.info.class_names[test['label'][0]]!r}, layer by layer.",
                "Activations of one image, a row a layer.",
            )
        )
    return Section("What it learned", blocks or ["The net has no convolutions."])


def first_kernel(params: Any, net: Layer) -> jax.Array | None:
    """Return the kernel (kh, kw, C_in, C_out) of the first convolution in the net's order, or None."""
    for path in paths(net):
        part = params
        for name in path.split("/"):
            part = part.get(name, {}) if isinstance(part, dict) else {}
        kernel = part.get("kernel") if isinstance(part, dict) else None
        if kernel is not None and kernel.ndim == 4:
            return kernel
    return None


def activation_maps(net: Layer, params: Any, state: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the activations (h, w, c) of one image at the layers that a reader wants: at most `ROWS`, evenly spread.

    Those after activation functions and pooling, or after every layer where there is neither.
    """
    every = leaf_paths(net)
    found = inside(params, state, to_float(image[None]), net=net, at=tuple(every))
    maps = {path: np.asarray(found[path][0], np.float32) for path in every if found[path].ndim == 4}
    chosen = [path for path in maps if path.rsplit("/", 1)[-1].startswith(("act", "relu", "pool"))] or list(maps)
    spread = np.unique(np.linspace(0, len(chosen) - 1, min(ROWS, len(chosen))).astype(int)) if chosen else []
    return {chosen[i]: maps[chosen[i]] for i in spread}
