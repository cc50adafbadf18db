"""Losses and metrics: one number per example, so that whoever averages them knows which examples count.

Array functions take (logits, labels). The trainer's losses and metrics are functions of `(outputs, batch)`, a batch
being a dict of arrays; `classification()` makes the usual one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike

from jaxcnn.checking import array, expect, expect_count, expect_size, floating, integral, is_int, number, shown

__all__ = [
    "Classification",
    "WithAuxiliary",
    "accuracy",
    "batch_accuracy",
    "classification",
    "confusion_matrix",
    "cross_entropy",
    "squared_error",
    "top_k",
    "with_auxiliary",
]


def cross_entropy(logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Return the softmax cross-entropy of each example, in nats.

    loss = -sum_c q[c] log softmax(logits)[c], q = (1 - s) * target + s / classes.

    Args:
        logits: (..., classes), floating; computed in float32.
        labels: class indices (...,) of an integer dtype, or soft targets (..., classes) that sum to 1.
        label_smoothing: s, in [0, 1).

    Returns:
        (...,) float32; NaN where a label is outside 0..classes-1.

    Raises:
        ValueError: shapes that do not match, smoothing out of range.
        TypeError: logits that are not floating.

    Source: Szegedy et al. 2016, section 7 (smoothing); agrees with optax and `torch.nn.functional.cross_entropy`.
    """
    logits, labels = _logits_and_labels("cross_entropy", logits, labels)
    label_smoothing = _smoothing("cross_entropy", label_smoothing)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if label_smoothing == 0 and jnp.issubdtype(labels.dtype, jnp.integer):
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        # A negative index would count from the end, and compiled code cannot raise.
        return jnp.where(_is_class(logits, labels), loss, jnp.nan)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(_targets(logits, labels), label_smoothing))


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return half the sum of squares of each example, the loss of the classic networks.

    loss = 1/2 sum_c (y[c] - t[c])^2, whose gradient is y - t.

    Args:
        outputs: (..., classes), floating; computed in float32.
        targets: class indices (...,), made one-hot, or values (..., classes).

    Returns:
        (...,) float32; NaN where a class index is outside 0..classes-1.

    Raises:
        ValueError: shapes that do not match.
        TypeError: outputs that are not floating.

    Source: Rumelhart et al. 1986, equation 3.
    """
    outputs, targets = _logits_and_labels("squared_error", outputs, targets, ("outputs", "targets"))
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    return 0.5 * jnp.sum(jnp.square(outputs - _targets(outputs, targets)), axis=-1)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1.0 where the largest logit is the label's (for soft labels: the largest target's), else 0.0.

    Args:
        logits: (..., classes), floating.
        labels: class indices (...,), or soft targets (..., classes).

    Returns:
        (...,) float32: 0.0 or 1.0; their mean is the accuracy.

    Raises:
        ValueError: shapes that do not match.
        TypeError: logits that are not floating.
    """
    return _among_largest(*_logits_and_labels("accuracy", logits, labels), 1)


def top_k(logits: jax.Array, labels: jax.Array, *, k: int) -> jax.Array:
    """Return 1.0 where the label is among the k largest logits, else 0.0.

    A logit that equals the label's counts as larger when its class comes first, as in `argmax`. Logits with a NaN among
    them, and labels outside 0..classes-1, count as wrong.

    Args:
        logits: (..., classes), floating.
        labels: class indices (...,), or soft targets (..., classes), whose largest is the label.
        k: how many guesses count, 1..classes.

    Returns:
        (...,) float32: 0.0 or 1.0.

    Raises:
        ValueError: shapes that do not match, k out of range.
        TypeError: logits that are not floating.
    """
    logits, labels = _logits_and_labels("top_k", logits, labels)
    classes = logits.shape[-1]
    expect(is_int(k, 1, classes), "top_k", f"k in 1..{classes}", shown(k), "k guesses of the classes there are.")
    return _among_largest(logits, labels, k)


def _among_largest(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jnp.argmax(labels, axis=-1)
    of_label = jnp.take_along_axis(logits, labels[..., None], axis=-1)
    first = lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1) < labels[..., None]
    rank = jnp.sum((logits > of_label) | ((logits == of_label) & first), axis=-1)
    # NaN compares false with everything, and a negative index counts from the end: neither may pass for right.
    valid = ~jnp.isnan(logits).any(axis=-1) & _is_class(logits, labels)
    return ((rank < k) & valid).astype(jnp.float32)


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> jax.Array:
    """Return how often each true class (row) was predicted as each class (column).

    Args:
        labels: true class indices, any shape.
        predictions: predicted class indices, the same shape.
        classes: the number of classes; pairs outside 0..classes-1 are not counted.

    Returns:
        (classes, classes) int32.

    Raises:
        ValueError: shapes that differ.
        TypeError: labels or predictions that are not integers.

    Source: agrees with `sklearn.metrics.confusion_matrix`.
    """
    fix = "Pass class indices: take the argmax of logits first."
    labels = array("confusion_matrix", "labels", labels)
    predictions = array("confusion_matrix", "predictions", predictions)
    classes = expect_count("confusion_matrix", "classes", classes)
    expect_size("confusion_matrix", "a matrix", (classes, classes), "Count fewer classes.")
    expect(
        labels.shape == predictions.shape,
        "confusion_matrix",
        f"predictions of shape {labels.shape}, as the labels",
        predictions.shape,
        fix,
    )
    labels = _wide(integral("confusion_matrix", "labels", labels, fix))
    predictions = _wide(integral("confusion_matrix", "predictions", predictions, fix))
    valid = (labels >= 0) & (labels < classes) & (predictions >= 0) & (predictions < classes)
    cell = jnp.where(valid, labels * classes + predictions, classes * classes)
    return jnp.bincount(cell.ravel(), length=classes * classes + 1)[:-1].reshape(classes, classes).astype(jnp.int32)


OTHER_LOSSES = {"mask": "loss=segmentation.pixel_loss()", "boxes": "loss=detection.centre_loss(stride=...)"}


@dataclass(frozen=True)
class Classification:
    """The trainer's loss for one label per image: `cross_entropy(outputs, batch["label"])`."""

    label_smoothing: float = 0.0

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each example, (N,) float32."""
        return cross_entropy(outputs, _label("classification", batch), label_smoothing=self.label_smoothing)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the labels are classes of such outputs; `fit` calls it before any work.

        Compiled code cannot look at values: a label out of range would train on, silently wrong.
        """
        known = [fix for name, fix in OTHER_LOSSES.items() if name in arrays]
        fix = f"Pass {known[0] if known else 'another loss'} to fit."
        expect("label" in arrays, "classification", 'data with "label"', list(arrays), fix)
        named = isinstance(outputs, Mapping)
        fix = "Pass losses.with_auxiliary(loss) to fit, of the loss that was passed."
        expect(not named, "classification", "logits alone", list(outputs) if named else "", fix)
        label, classes = np.asarray(arrays["label"]), outputs.shape[-1]
        if np.issubdtype(label.dtype, np.integer):
            expect(
                int(label.min()) >= 0 and int(label.max()) < classes,
                "classification",
                f"labels in 0..{classes - 1} for a net with {classes} outputs",
                f"labels in {label.min()}..{label.max()}",
                "Number the classes from 0, and give the net as many outputs as there are classes.",
            )


def classification(label_smoothing: float = 0.0) -> Classification:
    """Return the trainer's loss for one label per image; metric functions default to accuracy with it.

    Args:
        label_smoothing: in [0, 1).
    """
    return Classification(_smoothing("classification", label_smoothing))


@dataclass(frozen=True)
class WithAuxiliary:
    """A loss or metric of the outputs of a `layers.Auxiliary` net: f(logits) + weight * (the sum of f(head))."""

    loss: Callable[..., jax.Array]
    weight: float

    @property
    def whole_batch(self) -> bool:
        """Whether the loss looks at the whole batch: see `training.step.PerExample`."""
        return getattr(self.loss, "whole_batch", False)

    def validate(self, outputs: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the data fit all outputs that count, where the loss can say so."""
        validate = getattr(self.loss, "validate", None)
        for given in self._counted(outputs):
            if validate is not None:
                validate(given, arrays)

    def __call__(self, outputs: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return one number per example, (N,)."""
        total, *heads = (self.loss(given, batch) for given in self._counted(outputs))
        for head in heads:
            total = total + self.weight * head
        return total

    def _counted(self, outputs: Any) -> list[Any]:
        """Return the logits, and the heads if they count."""
        named = isinstance(outputs, Mapping) and "logits" in outputs
        fix = "Train a layers.Auxiliary, or pass the loss itself."
        got = list(outputs) if isinstance(outputs, Mapping) else shown(outputs)
        expect(named, "with_auxiliary", 'outputs by name, "logits" among them', got, fix)
        heads = [head for name, head in outputs.items() if name != "logits"]
        return [outputs["logits"], *heads] if self.weight else [outputs["logits"]]


def with_auxiliary(loss: Callable[..., jax.Array], weight: float = 0.3) -> WithAuxiliary:
    """Return the trainer's loss for a `layers.Auxiliary` net: that of its logits, and `weight` times that of each head.

    The heads count in validation too. What is measured of the logits alone has weight 0: the metric
    `with_auxiliary(batch_accuracy, weight=0)`.

    Args:
        loss: `(outputs, batch) -> (N,)`, such as `classification()`.
        weight: >= 0; 0.3 in the paper, 0.4 in torchvision's training of Inception v3.

    Raises:
        ValueError: a weight below 0, or not finite.
        TypeError: loss is no function.

    Source: Szegedy et al. 2015, section 5.
    """
    fix = "Pass losses.classification(), say."
    expect(callable(loss), "with_auxiliary", "loss as a function of outputs and batch", shown(loss), fix, TypeError)
    what, fix = "a finite weight >= 0", "0.3 is the paper's."
    return WithAuxiliary(loss, number("with_auxiliary", what, weight, lambda w: 0 <= w < math.inf, fix))


def batch_accuracy(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return `accuracy(outputs, batch["label"])`: the trainer's default metric."""
    return accuracy(outputs, _label("batch_accuracy", batch))


def _label(where: str, batch: Mapping[str, jax.Array]) -> jax.Array:
    named = isinstance(batch, Mapping)
    fix = "Pass another loss and other metrics for other tasks."
    ok = named and "label" in batch
    expect(ok, where, 'a batch with "label"', list(batch) if named else type(batch).__name__, fix)
    return batch["label"]


def _smoothing(where: str, value: float) -> float:
    return number(where, "label_smoothing in [0, 1)", value, lambda s: 0 <= s < 1, "0.1 is a usual value.")


def _logits_and_labels(
    where: str, logits: jax.Array, labels: jax.Array, names: tuple[str, str] = ("logits", "labels")
) -> tuple[jax.Array, jax.Array]:
    """Return both as arrays, having checked them; class indices are wide enough to be compared with any class."""
    logits, labels = floating(where, names[0], logits), array(where, names[1], labels)
    ok, fix = logits.ndim >= 1 and logits.shape[-1] > 0, "Add the class axis, last."
    expect(ok, where, f"{names[0]} of shape (..., classes)", logits.shape, fix)
    real = any(jnp.issubdtype(labels.dtype, kind) for kind in (jnp.integer, jnp.floating, jnp.bool))
    fix = "Pass class indices, or a probability for each class."
    expect(real, where, f"{names[1]} of an integer or floating dtype", labels.dtype, fix, TypeError)
    wanted = logits.shape[:-1] if jnp.issubdtype(labels.dtype, jnp.integer) else logits.shape
    expect(
        labels.shape == wanted,
        where,
        f"{names[1]} of shape {logits.shape[:-1]} (class indices) or {logits.shape} (floating targets)",
        f"{labels.dtype} {names[1]} of shape {labels.shape}",
        f"Squeeze or convert the {names[1]}.",
    )
    return logits, _wide(labels)


def _wide(labels: jax.Array) -> jax.Array:
    """Return integers of 32 bits or more: JAX gives a number of classes the labels' dtype, in which it may wrap."""
    narrow = jnp.issubdtype(labels.dtype, jnp.integer) and labels.dtype.itemsize < 4
    return labels.astype(jnp.int32) if narrow else labels


def _targets(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the target of each class: of a label that is none, NaN."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return labels.astype(logits.dtype)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return jnp.where(_is_class(logits, labels)[..., None], one_hot, jnp.nan)


def _is_class(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return (labels >= 0) & (labels < logits.shape[-1])
