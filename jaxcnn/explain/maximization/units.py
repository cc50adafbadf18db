"""Classes, channels, units, layers and directions in them: the parts of a net that can be asked what they like."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, is_array, number, shown
from jaxcnn.classifier import logits_of
from jaxcnn.explain.maximization.objective import LayerObjective, Objective, Seen, expect_broadcast, expect_index
from jaxcnn.explain.score import class_scores

__all__ = [
    "Channel",
    "ClassScore",
    "Direction",
    "LogProbability",
    "Unit",
    "WholeLayer",
    "expect_activation",
    "likeness",
]

LEAST_COSINE = 0.1  # as in Lucid, so that what points the other way has a slope, too
TINY = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ClassScore(Objective):
    """The net's output (logit) for a class.

    Args:
        target: a class, one for each image, or a function of the outputs -> scores (...), such as
            `lambda y: y[..., 3].mean((-2, -1))` of a net that labels pixels.

    Source: Simonyan, Vedaldi, Zisserman 2014, section 2, which maximises the score before the softmax.
    """

    target: Any

    @property
    def reads_outputs(self) -> bool:
        """It does."""
        return True

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        return class_scores(seen.outputs, self.target)

    def check(self, where: str, seen: Seen) -> None:
        """Check the target."""
        lead = seen.images.shape[:-3]
        if callable(self.target):
            found = jax.eval_shape(lambda target, outputs: target(outputs), self.target, seen.outputs)
            fix = "Sum over the outputs' other axes."
            shape = getattr(found, "shape", None)
            expect(shape == lead, where, f"a target that gives scores of shape {lead}", shown(found), fix)
            return
        _expect_class(where, self.target, seen)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LogProbability(Objective):
    """The logarithm of a class's probability after the softmax: other classes count, too, and certainty is enough.

    Args:
        target: a class, or one for each image.

    Source: Nguyen et al. 2016, section 3, beside Simonyan, Vedaldi, Zisserman 2014, section 2, who warn of it: the
    probability also rises as others fall.
    """

    target: Any

    @property
    def reads_outputs(self) -> bool:
        """It does."""
        return True

    def scores(self, seen: Seen) -> jax.Array:
        """Return the logarithm for each image."""
        return class_scores(jax.nn.log_softmax(logits_of(seen.outputs)), self.target)

    def check(self, where: str, seen: Seen) -> None:
        """Check the target."""
        _expect_class(where, self.target, seen)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Channel(LayerObjective):
    """A channel of a layer: its mean over all positions; of a layer after flattening, a unit.

    Args:
        at: path of the layer, at any depth. Before a ReLU there is a slope wherever one begins.
        channel: from 0 on, one for all images or one for each.
    """

    channel: Any

    def scores(self, seen: Seen) -> jax.Array:
        """Return the mean of each image."""
        return class_scores(_rows(seen, self.at).mean(-2), self.channel)

    def check(self, where: str, seen: Seen) -> None:
        """Check the channel."""
        shape = expect_activation(where, seen, self.at)
        expect_index(where, f"a channel of {self.at!r}", self.channel, shape[-1], seen.images.shape[:-3])


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Unit(LayerObjective):
    """A channel of a map at one position.

    Args:
        at: path of a layer with a map (..., h, w, c).
        channel: from 0 on, one for all images or one for each.
        position: (row, column) in the map, each one number or one for each image; (h // 2, w // 2) unless given.
    """

    channel: Any
    position: tuple[Any, Any] | None = None

    def scores(self, seen: Seen) -> jax.Array:
        """Return the activation in each image."""
        height, width = seen.activations[self.at].shape[-3:-1]
        row, column = (height // 2, width // 2) if self.position is None else self.position
        rows = _rows(seen, self.at)
        place = jnp.broadcast_to(row * width + column, rows.shape[:-2])[..., None, None]
        return class_scores(jnp.take_along_axis(rows, place, axis=-2)[..., 0, :], self.channel)

    def check(self, where: str, seen: Seen) -> None:
        """Check channel and position."""
        shape, lead = expect_activation(where, seen, self.at), seen.images.shape[:-3]
        fix = "Pass a Channel for a layer without positions."
        expect(len(shape) == len(lead) + 3, where, f"a map (..., h, w, c) at {self.at!r}", shape, fix)
        expect_index(where, f"a channel of {self.at!r}", self.channel, shape[-1], lead)
        if self.position is not None:
            pair = isinstance(self.position, tuple | list) and len(self.position) == 2
            expect(pair, where, "position as (row, column)", shown(self.position), "Pass (3, 3), say.")
            for name, index, count in zip(("row", "column"), self.position, shape[-3:-1], strict=True):
                expect_index(where, f"a {name} of {self.at!r}", index, count, lead)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class WholeLayer(LayerObjective):
    """All of a layer: the mean square of its activations, what DeepDream maximises.

    Args:
        at: path of the layer, at any depth.

    Source: Mordvintsev, Olah, Tyka 2015, "Inceptionism" (the mean square of a layer).
    """

    def scores(self, seen: Seen) -> jax.Array:
        """Return the mean square of each image."""
        return jnp.mean(_rows(seen, self.at) ** 2, axis=(-2, -1))

    def check(self, where: str, seen: Seen) -> None:
        """Check the layer."""
        expect_activation(where, seen, self.at)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Direction(LayerObjective):
    """A direction among the channels of a layer: mean over positions of <a, v> max(cos(a, v), 0.1)^power.

    Args:
        at: path of the layer, at any depth.
        vector: v, (c,) for all images, or (..., c).
        power: how much more it counts that a points along v than how long it is, at least 0.

    Source: Olah, Mordvintsev, Schubert 2017, "Feature visualization"; the power from Carter et al. 2019,
    "Activation atlas".
    """

    vector: Any
    power: float = field(default=0.0, metadata={"static": True})

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        return likeness(_rows(seen, self.at), self.vector[..., None, :], self.power)

    def check(self, where: str, seen: Seen) -> None:
        """Check vector and power."""
        shape = expect_activation(where, seen, self.at)
        got, fix = shown(self.vector), "Pass an activation at one position, or what a probe found."
        ok = is_array(self.vector) and jnp.shape(self.vector)[-1:] == shape[-1:]
        expect(ok, where, f"a vector of {shape[-1]} numbers, the channels of {self.at!r}", got, fix)
        expect_broadcast(where, "the vectors", self.vector[..., 0], seen.images.shape[:-3])
        number(where, "power of at least 0", self.power, lambda p: 0 <= p < math.inf, "Pass 1, say.")


def likeness(rows: jax.Array, wanted: jax.Array, power: float) -> jax.Array:
    """Return the mean over positions of <a, v> max(cos(a, v), 0.1)^power, of (..., positions, c)."""
    dot = jnp.sum(rows * wanted, -1)
    if power:
        lengths = jnp.sqrt((jnp.sum(rows**2, -1) + TINY) * (jnp.sum(wanted**2, -1) + TINY))
        dot *= jnp.maximum(dot / lengths, LEAST_COSINE) ** power
    return dot.mean(-1)


def expect_activation(where: str, seen: Seen, at: str) -> tuple[int, ...]:
    """Return the shape of what a layer gives; raise `ValueError` unless it is (..., c) or (..., positions, c)."""
    found, lead = seen.activations[at], seen.images.shape[:-3]
    ok = found.ndim > len(lead) and found.shape[: len(lead)] == lead and 0 not in found.shape
    fix = "Choose a layer that keeps the images apart."
    expect(ok, where, f"activations {(*lead, '...')}, some for each image, at {at!r}", found.shape, fix)
    return found.shape


def _rows(seen: Seen, at: str) -> jax.Array:
    """Return what a layer gives as (..., positions, channels)."""
    found, lead = seen.activations[at], seen.images.shape[:-3]
    return found.reshape(*lead, -1, found.shape[-1])


def _expect_class(where: str, target: Any, seen: Seen) -> None:
    logits, lead = logits_of(seen.outputs), seen.images.shape[:-3]
    ok = getattr(logits, "shape", ())[:-1] == lead and logits.ndim > 0
    fix = "Pass a ClassScore of a function of the outputs."
    expect(ok, where, f"outputs {(*lead, 'classes')}, one row an image", shown(logits), fix)
    expect_index(where, "target", target, logits.shape[-1], lead)
