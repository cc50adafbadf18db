"""What a classifier loses, class by class, without a unit."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, integral, scalar, shown
from jaxcnn.classifier import logits_of
from jaxcnn.data.dataset import to_float
from jaxcnn.explain.dissection.image_set import batches, expect_images, expect_known, expect_layer
from jaxcnn.explain.dissection.intervention import Held
from jaxcnn.layers.layer import Layer, Params, State, apply
from jaxcnn.surgery import activations, edit

__all__ = ["Effects", "class_effects"]


class Effects(NamedTuple):
    """Accuracy and mean logit of each class: of the net, and with units held; NaN for classes without images.

    `units`: (sets, n), which units were held together. `images`: (classes,), how many there are. `accuracy`, `logit`:
    (classes,), of the net as it is; the logit is that of the images' own class. `accuracy_without`, `logit_without`:
    (sets, classes).
    """

    units: np.ndarray
    images: np.ndarray
    accuracy: np.ndarray
    logit: np.ndarray
    accuracy_without: np.ndarray
    logit_without: np.ndarray

    @property
    def accuracy_change(self) -> np.ndarray:
        """By how much the accuracy of each class rises with the units held, (sets, classes): below 0 they help it."""
        return self.accuracy_without - self.accuracy

    @property
    def logit_change(self) -> np.ndarray:
        """By how much the logit of each class rises with the units held, (sets, classes)."""
        return self.logit_without - self.logit

    @property
    def total(self) -> np.ndarray:
        """The accuracy over all images with the units held, (sets,)."""
        return np.nansum(self.accuracy_without * self.images, axis=1) / self.images.sum()


def class_effects(
    net: Layer,
    params: Params,
    state: State,
    images: Any,
    labels: Any,
    *,
    at: str,
    units: Any = None,
    value: Any = 0.0,
    batch_size: int = 128,
) -> Effects:
    """Return the accuracy and the mean logit of each class with each unit of a layer switched off.

    What lies before the layer is computed once, what comes after it for one unit after the other, in one program.

    Args:
        net, params, state: the trained classifier, which is applied with `train=False`.
        images: (N, H, W, C), uint8, or floating in [0, 1], or a `Dataset`.
        labels: integers (N,), the images' classes.
        at: the path of a layer, at any depth; its units are the channels of its output's last axis.
        units: integers (sets,), or (sets, n), of which each row is held together, filled up with -1; every unit alone
            unless given.
        value: what they are held at.
        batch_size: images at once.

    Returns:
        `Effects`.

    Raises:
        ValueError: an unknown layer, images, labels or units out of range, outputs that are no logits (N, classes), or
            not finite.
        TypeError: images, labels or units of another dtype, arrays traced under `jit`.

    Source: Bau et al. 2020, section "the role of units in a classifier".
    """
    where = "class_effects"
    expect_known(where, (labels, units))
    images = expect_images(where, images)
    of_layer, outputs = expect_layer(where, net, params, state, images, at)
    logits = logits_of(outputs)
    shape: tuple[int, ...] = getattr(logits, "shape", ())
    expect(len(shape) == 2, where, "a net that gives logits (N, classes)", shown(logits), "Choose a classifier.")
    classes, count = shape[1], of_layer[-1]
    labels = np.asarray(integral(where, "labels", labels, "Pass class indices."))
    fix = "Pass a class for each image, as the net numbers them."
    expect(labels.shape == (len(images),), where, f"labels of shape ({len(images)},)", labels.shape, fix)
    low, high = int(labels.min()), int(labels.max())
    expect(low >= 0 and high < classes, where, f"labels in 0..{classes - 1}", f"{low}..{high}", fix)
    sets = np.asarray(integral(where, "units", np.arange(count) if units is None else units, "Pass [3, 17], say."))
    expect(sets.ndim in (1, 2) and sets.size > 0, where, "units (sets,) or (sets, n)", sets.shape, "Pass [3, 17], say.")
    sets = sets.reshape(len(sets), -1)
    ok = sets.min() >= -1 and sets.max() < count
    expect(bool(ok), where, f"units in 0..{count - 1}", f"{sets.min()}..{sets.max()}", "-1 is none.")
    value = scalar(where, "value as a number", value, np.isfinite, "Pass 0.0, or a unit's threshold.")
    every = np.concatenate([np.full((1, sets.shape[1]), -1, np.int32), sets]).astype(np.int32)  # none of them first
    total = np.zeros((len(every), 2, classes))
    for rows, real in batches(where, len(images), batch_size):
        sums = _sums(net, at, params, state, images[rows], labels[rows], real, every, value)
        total += np.asarray(sums, np.float64)
    fix = "Look at the weights and the images."
    expect(bool(np.isfinite(total).all()), where, "finite logits", "others", fix)
    found = np.bincount(labels, minlength=classes)
    mean = np.divide(total, found, out=np.full_like(total, np.nan), where=found > 0)
    return Effects(sets, found, mean[0, 0], mean[0, 1], mean[1:, 0], mean[1:, 1])


@functools.partial(jax.jit, static_argnames=("net", "at"))
def _sums(
    net: Layer,
    at: str,
    params: Params,
    state: State,
    images: jax.Array,
    labels: jax.Array,
    real: jax.Array,
    units: jax.Array,
    value: jax.Array,
) -> jax.Array:
    """Return, for each set of units, how many images of each class are right and the sum of their logits."""
    x = to_float(images)
    inside = activations(net, params, state, x, [at])[1][at]

    def without(held: jax.Array) -> jax.Array:
        y = Held("class_effects", held, value)(inside)
        outputs = apply(edit(net, {at: lambda _: y}), params, state, x, train=False)[0]
        logits = logits_of(outputs)
        own = (labels[:, None] == jnp.arange(logits.shape[-1])) & real[:, None]
        right = own & (logits.argmax(axis=-1) == labels)[:, None]
        return jnp.stack([right.sum(axis=0).astype(jnp.float32), jnp.where(own, logits, 0).sum(axis=0)])

    return jax.lax.map(without, units)
