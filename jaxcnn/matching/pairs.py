"""Losses of labelled images: those of one class belong together, those of different classes apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import array, expect, floating, number, shown

__all__ = ["PairLoss", "TripletLoss", "contrastive", "pair_loss", "triplet_loss"]


def contrastive(x: jax.Array, y: jax.Array, same: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Return the contrastive loss of pairs: what is the same attracts, what is not repels, up to the margin.

        d^2 / 2  where a pair is the same,  max(0, margin - d)^2 / 2  where it is not,    d = |x - y|

    Args:
        x, y: (..., D), floating; leading axes broadcast.
        same: (...), bool, whether a pair shows the same.
        margin: the distance from which on different ones no longer matter, > 0.

    Returns:
        (...,) float32. Of different vectors at one place the gradient is 0: no direction leads apart.

    Raises:
        ValueError: shapes that do not fit, a margin not above 0.
        TypeError: an x or y that is not floating, `same` no bools.

    Source: Hadsell, Chopra, LeCun, "Dimensionality reduction by learning an invariant mapping", 2006, equation 4.
    """
    where = "contrastive"
    x, y, same = floating(where, "x", x), floating(where, "y", y), array(where, "same", same)
    expect(same.dtype == bool, where, "same as bools", same.dtype, "Pass labels[:, None] == labels, say.", TypeError)
    margin = _margin(where, margin)
    shapes = x.shape, y.shape, same.shape
    ok = x.ndim >= 1 and x.shape[-1:] == y.shape[-1:] and _fit(x.shape[:-1], y.shape[:-1], same.shape)
    expect(ok, where, "x and y (..., D) and same (...)", shown(shapes), "Give each pair a row of each.")
    squared = _squared(x, y)
    apart = squared > 0  # the slope of the root at 0 is infinite
    distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)
    return 0.5 * jnp.where(same, squared, jnp.square(jnp.maximum(0, margin - distance)))


@dataclass(frozen=True)
class PairLoss:
    """The trainer's loss of all pairs of a batch: see `pair_loss`."""

    whole_batch: ClassVar[bool] = True  # of a part of the batch it is another loss
    margin: float = 1.0
    name: str = "label"

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        same, other = _partners("pair_loss", outputs, batch, self.name)
        each = contrastive(outputs[:, None], outputs[None], ~other, margin=self.margin)
        return 0.5 * (_mean(each, same) + _mean(each, other))

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the net gives vectors, and the data have labels of two classes or more."""
        _validate("pair_loss", outputs, arrays, self.name)


def pair_loss(margin: float = 1.0, *, name: str = "label") -> PairLoss:
    """Return the trainer's loss of all pairs of a batch: for each image `contrastive` with all others.

    Half of it is the mean over those of the same class, half that over those of others, as if every second pair that
    is drawn were the same. A batch of N images costs N forward passes and has N (N - 1) / 2 pairs. End the net with
    `unit_length` to let directions alone decide; the distance is then 2 at most.

    Train with `accumulate=1`: images of different parts of a batch make no pairs.

    Args:
        margin: as of `contrastive`.
        name: of the labels (N,) in a batch.

    Raises:
        ValueError: a margin not above 0.

    Source: Hadsell et al. 2006.
    """
    return PairLoss(_margin("pair_loss", margin), name)


@dataclass(frozen=True)
class TripletLoss:
    """The trainer's loss of the hardest triplets of a batch: see `triplet_loss`."""

    whole_batch: ClassVar[bool] = True  # of a part of the batch it is another loss
    margin: float = 0.2
    name: str = "label"

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,) float32."""
        same, other = _partners("triplet_loss", outputs, batch, self.name)
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        squared = _squared(outputs[:, None], outputs[None])
        far, near = jnp.where(same, squared, -jnp.inf).argmax(1), jnp.where(other, squared, jnp.inf).argmin(1)
        loss = optax.losses.triplet_margin_loss(outputs, outputs[far], outputs[near], margin=self.margin)
        return jnp.where(same.any(1) & other.any(1), loss, 0)

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the net gives vectors, and the data have labels of two classes or more."""
        _validate("triplet_loss", outputs, arrays, self.name)


def triplet_loss(margin: float = 0.2, *, name: str = "label") -> TripletLoss:
    """Return the trainer's loss of triplets: the farthest of the same class should be nearer than any of another one.

        max(0, margin + max_p |z - z_p| - min_n |z - z_n|), p of the class of z, n of others, all of one batch

    It is 0 for an image without a partner, or without another class, in its batch. Train with `accumulate=1`: each
    part of a batch has the triplets of its own images alone.

    Args:
        margin: by how much nearer, > 0.
        name: of the labels (N,) in a batch.

    Raises:
        ValueError: a margin not above 0.

    Source: Hermans, Beyer, Leibe, "In defense of the triplet loss for person re-identification", 2017, equation 5;
    the margin that of Schroff et al. 2015.
    """
    return TripletLoss(_margin("triplet_loss", margin), name)


def _squared(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return squared distances, float32; of differences, since |x|^2 + |y|^2 - 2 x . y cancels where both are near."""
    x, y = (each.astype(jnp.promote_types(each.dtype, jnp.float32)) for each in (x, y))
    return jnp.sum(jnp.square(x - y), -1)


def _mean(values: jax.Array, among: jax.Array) -> jax.Array:
    """Return the mean of each row over some of its entries, 0 where there is none."""
    return jnp.sum(jnp.where(among, values, 0), -1) / jnp.maximum(among.sum(-1), 1)


def _partners(where: str, outputs: jax.Array, batch: Mapping[str, jax.Array], name: str) -> tuple[jax.Array, jax.Array]:
    """Return which images are others of the same class, and which of another class, both (N, N)."""
    expect(name in batch, where, f"a batch with {name!r}", list(batch), f"Pass {where}(name=...).")
    labels, shape = batch[name], jnp.shape(outputs)
    ok = len(shape) == 2 and labels.shape == shape[:1]
    got = f"{shape} and labels {labels.shape}"
    expect(ok, where, "outputs (N, D) and a label of each", got, "End the net with a vector for each image.")
    alike = labels[:, None] == labels[None]
    return alike & ~jnp.eye(len(labels), dtype=bool), ~alike


def _validate(where: str, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray], name: str) -> None:
    shape = tuple(getattr(outputs, "shape", ()))
    expect(len(shape) == 2, where, "outputs (N, D)", shape, "End the net with a vector for each image.")
    expect(name in arrays, where, f"data with {name!r}", list(arrays), f"Pass {where}(name=...).")
    labels = np.asarray(arrays[name])
    ok = labels.ndim == 1 and len(np.unique(labels)) > 1
    got = f"shape {labels.shape}, {len(np.unique(labels))} of them different"
    expect(ok, where, "labels (N,) of two classes or more", got, "With one class nothing is apart.")


def _fit(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def _margin(where: str, margin: float) -> float:
    return number(where, "a finite margin > 0", margin, lambda m: 0 < m < math.inf, "Pass margin=1.0, say.")
