"""Learning without labels: two views of one image belong together, those of different images apart."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment import batched
from jaxcnn.checking import expect, floating, number
from jaxcnn.losses import cross_entropy
from jaxcnn.matching.similarity import cosine_similarity

__all__ = ["ViewLoss", "nt_xent", "two_views", "view_loss"]


def nt_xent(views: jax.Array, *, temperature: float = 0.5) -> jax.Array:
    """Return the normalized, temperature-scaled cross-entropy: which of all others is the same image's other view?

        l(i, j) = -log(exp(s_ij / t) / sum_{k != i} exp(s_ik / t)),    (l(i, j) + l(j, i)) / 2 of each image

    i and j being its two views, k any of the 2 N views, s their cosines and t the temperature.

    Args:
        views: embeddings (N, 2, D), floating, both views of each image.
        temperature: > 0; the smaller, the more the nearest others count alone.

    Returns:
        (N,) float32, in nats; log(2 N - 1) where all are alike.

    Raises:
        ValueError: another shape, a temperature not above 0.
        TypeError: views that are not floating.

    Source: Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual representations",
    2020, equation 1; its mean agrees with `optax.losses.ntxent`.
    """
    where = "nt_xent"
    views, temperature = floating(where, "views", views), _temperature(where, temperature)
    ok = views.ndim == 3 and views.shape[1] == 2
    expect(ok, where, "views (N, 2, D)", views.shape, "Augment by matching.two_views: validation has one view alone.")
    count = 2 * len(views)
    flat = views.reshape(count, views.shape[-1])
    logits = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, cosine_similarity(flat, flat) / temperature)
    return cross_entropy(logits, jnp.arange(count) ^ 1).reshape(-1, 2).mean(-1)


@dataclass(frozen=True)
class ViewLoss:
    """The trainer's loss of two views of each image: see `view_loss`."""

    whole_batch: ClassVar[bool] = True  # of a part of the batch it is another loss
    temperature: float = 0.5

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        return nt_xent(outputs, temperature=self.temperature)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the net gives a vector for an image."""
        shape = tuple(getattr(outputs, "shape", ()))
        expect(len(shape) == 2, "view_loss", "outputs (N, D)", shape, "End the net with a vector for each image.")


def view_loss(temperature: float = 0.5) -> ViewLoss:
    """Return the trainer's loss of nets that see two views of each image: `nt_xent`, with no label looked at.

    The views come from the augmentation, `two_views`. Train without validation, whose images have one view, and with
    `accumulate=1`: each part of a batch is compared with itself alone, log(2 N / accumulate - 1) where all are alike.

    Args:
        temperature: as of `nt_xent`.

    Raises:
        ValueError: a temperature not above 0.

    Source: Chen et al. 2020 (SimCLR), section 2.1.
    """
    return ViewLoss(_temperature("view_loss", temperature))


def two_views(fn: Callable[[jax.Array, Any], Any]) -> Callable[[jax.Array, Any], Any]:
    """Return the trainer's augmentation that shows every image twice, each time with a draw of its own.

        views[n, v] = fn(split(key, 2 N)[2 n + v], image[n])

    Args:
        fn: an augmentation of one image, `(key, image) -> image`.

    Returns:
        `(key, batch) -> batch`, with "image" (N, 2, H, W, C) and all else as it was. Nets take any leading axes: their
        outputs are (N, 2, ...), and batch norm sees all views together.

    Raises:
        TypeError: fn is no function.

    Source: Chen et al. 2020, algorithm 1.
    """
    of_each = batched(fn)

    def over_batch(key: jax.Array, batch: Any) -> Any:
        image = batch["image"]
        views = of_each(key, jnp.repeat(image, 2, axis=0))
        return {**batch, "image": views.reshape(len(image), 2, *views.shape[1:])}

    return over_batch


def _temperature(where: str, temperature: float) -> float:
    what, fix = "a finite temperature > 0", "0.5 is the paper's for CIFAR-10."
    return number(where, what, temperature, lambda t: 0 < t < math.inf, fix)
