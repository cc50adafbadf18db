"""Caricatures: images in which a layer sees what it sees in another one, and more of it."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import optax

from jaxcnn.checking import number
from jaxcnn.explain.maximization.maximize import ADAM, FOURIER, ROBUST, Maximized, ascended
from jaxcnn.explain.maximization.objective import LayerObjective, Objective, Seen, expect_broadcast
from jaxcnn.explain.maximization.parameterization import Parameterization
from jaxcnn.explain.maximization.robustness import RandomTransform
from jaxcnn.explain.maximization.seeing import codes, images_of, looking
from jaxcnn.explain.maximization.units import WholeLayer, expect_activation, likeness
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["Likeness", "caricature"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Likeness(LayerObjective):
    """How far a layer's activation points along a given one, position by position: the mean of <a, v> cos(a, v)^power.

    Args:
        at: path of the layer, at any depth.
        activation: v, of the shape that the layer gives for one image, or for all images.
        power: how much more it counts that a points along v than how long it is, at least 0; a cosine below 0.1
            counts as 0.1.

    Source: as `Direction`, with a direction of its own at each position.
    """

    activation: Any
    power: float = field(default=1.0, metadata={"static": True})

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        found = seen.activations[self.at]
        lead, channels = found.shape[: seen.images.ndim - 3], found.shape[-1]
        wanted = jax.numpy.broadcast_to(self.activation, found.shape)
        return likeness(found.reshape(*lead, -1, channels), wanted.reshape(*lead, -1, channels), self.power)

    def check(self, where: str, seen: Seen) -> None:
        """Check activation and power."""
        shape = expect_activation(where, seen, self.at)
        fix = "Pass what surgery.activations gives there, for one image or for as many."
        expect_broadcast(where, f"an activation of {self.at!r}", self.activation, shape, fix)
        number(where, "power of at least 0", self.power, lambda p: 0 <= p < math.inf, "Pass 1, say.")


def caricature(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    *,
    at: str,
    power: float = 1.0,
    prior: Objective | None = None,
    parameterization: Parameterization = FOURIER,
    transforms: tuple[RandomTransform, ...] = ROBUST,
    steps: int = 256,
    optimizer: optax.GradientTransformation = ADAM,
) -> Maximized:
    """Return images, from noise, whose activations point along those of x and are as long as they can be.

        maximise mean over positions of <f(image), f(x)> max(cos, 0.1)^power + prior(image)

    Where `invert` asks for the same activation, this asks for more of it: what the layer found notable is exaggerated.

    Args:
        key: a PRNG key: of where the images begin and how they are moved.
        net, params, state: the trained net, which is applied with `train=False`.
        x: images (..., H, W, C) in [0, 1].
        at: path of the layer, at any depth.
        power: as of `Likeness`.
        prior: what images are like, an objective that is added.
        parameterization, transforms, steps, optimizer: as for `maximize`.

    Returns:
        `Maximized`, as of `maximize`.

    Raises:
        ValueError: an unknown layer (the message has near ones), images out of [0, 1], steps below 1.

    Source: Olah et al. 2018, "The building blocks of interpretability" (spatial activations); Mordvintsev's
    feature-inversion notebook of Lucid, which called its objective so.
    """
    x = images_of("caricature", "x", x)
    look = looking("caricature", net, params, state, WholeLayer(at))
    objective: Objective = Likeness(at, codes(look, x)[at], power)
    objective = objective if prior is None else objective + prior
    options = (parameterization, transforms, steps, optimizer, None)
    ascent = looking("caricature", net, params, state, objective)
    return ascended("caricature", key, ascent, objective, x.shape, *options)
