"""One image explained, as sections of a page: what a net says of it, what its layers hold, and which pixels decide."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.attributions import attributions, map_layer, trunk_paths
from jaxcnn import data, explain, report
from jaxcnn.data.dataset import to_float
from jaxcnn.interop.model import Model
from jaxcnn.report.classifier import activation_maps
from jaxcnn.training import predict, predictor

__all__ = ["explained", "surest_mistake", "test_image"]

SHOWN = ("gradient", "SmoothGrad", "integrated gradients", "Grad-CAM", "guided backprop")
NEAREST = 6  # training examples that are shown
CHECKED = 16  # images on which each method is checked
SEARCHED = 10_000  # training images among which the nearest are looked for


def explained(
    model: Model,
    train: data.Dataset,
    test: data.Dataset,
    image: np.ndarray,
    *,
    title: str,
    target: int | None = None,
    seed: int = 0,
) -> tuple[list[report.Section], dict[str, Any]]:
    """Return the sections about one image, and their figures.

    Args:
        model: the net, its weights, and the names of its classes.
        train: among which the nearest are looked for.
        test: on which the methods are checked.
        image: (H, W, C), uint8, as the net takes it.
        title: what the image is, for captions.
        target: the class whose evidence is shown; None for the likeliest.
        seed: of the random weights of the sanity checks.
    """
    net, *_ = weights = model.net, model.params, model.state
    # The image before others, on which the methods are checked: one program of each method does for both.
    x = to_float(jnp.asarray(np.stack([image, *test["image"][: CHECKED - 1]])))
    logits = jax.jit(predictor(*weights))(x)
    shares = np.asarray(jax.nn.softmax(logits[0].astype(jnp.float32)))
    best = np.argsort(-shares, kind="stable")
    targets = np.array(logits.argmax(-1))
    targets[0] = targets[0] if target is None else target
    name = model.class_names[targets[0]]
    at = map_layer(*weights, x)
    every = attributions(*weights, x)
    chosen = {kind: every[kind].fn for kind in SHOWN if kind in every}
    maps = {kind: np.asarray(method(*weights, x, targets))[0] for kind, method in chosen.items()}
    told = explain.trust.sanity_checks(jax.random.key(seed), *weights, x, targets, chosen, at=())
    answers = [{"class": model.class_names[k], "probability": f"{100 * shares[k]:.1f} %"} for k in best[:5]]
    view = trunk_paths(net)[-2]
    near, distances = nearest(model, train, image, view)
    inside = activation_maps(*weights, image)
    labels = [f"{model.class_names[k]}, {d:.2f}" for k, d in zip(near["label"], distances, strict=True)]
    sections = [
        report.Section("What the net says", [report.Table(answers, title)]),
        report.Section(
            "Which pixels decide",
            [
                report.Picture(
                    report.attributions(image, maps, columns=4),
                    f"What speaks for {name!r}: red for, blue against it where a method tells both apart; brighter is "
                    f"more where it does not. Each map has a scale of its own. The layer of Grad-CAM: {at or 'none'}.",
                    f"The image and {len(maps)} attribution maps for {name}.",
                ),
                report.Table(told.table(), told.criterion),
            ],
        ),
        report.Section(
            "What it resembles",
            [
                report.Picture(
                    report.image_grid(near["image"], labels, columns=NEAREST),
                    f"The training images whose activations at {view!r} are most like the image's, of "
                    f"{min(SEARCHED, train.size):,}; with class "
                    "and distance: 0 for the same direction, 1.41 for nothing in common.",
                    "The nearest training examples.",
                )
            ],
        ),
    ]
    if inside:
        picture = report.feature_maps(inside, image)
        blocks = [report.Picture(picture, "What the layers hold of it.", "Activations of the image, a row a layer.")]
        sections.append(report.Section("Layer by layer", blocks))
    figures = {
        "answers": {model.class_names[k]: float(shares[k]) for k in best},
        "target": name,
        "layer": at,
        "criterion": told.criterion,
        "verdicts": {kind: {"passes": v.passes, "similarity": v.similarity} for kind, v in told.verdicts.items()},
    }
    return sections, figures


def nearest(model: Model, train: data.Dataset, image: np.ndarray, at: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the training examples whose activations at a layer are most like the image's, and their distances."""
    held, own = (
        explain.inside.embedding(model.net, model.params, model.state, images, at)
        for images in (train["image"][:SEARCHED], image[None])
    )
    held, own = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (held, own))
    near = explain.inside.nearest(held, own[0], NEAREST)
    return {name: np.asarray(train[name])[near.index] for name in ("image", "label")}, near.distance


def test_image(test: data.Dataset, at: int) -> tuple[np.ndarray, str]:
    """Return a test image, and what it is called."""
    return np.asarray(test["image"][at]), f"test image {at}, a {test.info.class_names[test['label'][at]]!r}"


def surest_mistake(model: Model, test: data.Dataset) -> int:
    """Return the test image whose answer the net puts above the truth by most; the first one where all are right."""
    logits, labels = predict(model.net, model.params, model.state, test), np.asarray(test["label"])
    return int((logits.max(axis=-1) - logits[np.arange(len(labels)), labels]).argmax())
