"""Feature inversion: what does the code of an image at some depth still know of it?"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcnn.explain.maximization.maximize import ADAM, FOURIER, ascended
from jaxcnn.explain.maximization.objective import LayerObjective, Objective, Seen, expect_broadcast
from jaxcnn.explain.maximization.parameterization import Parameterization
from jaxcnn.explain.maximization.robustness import RandomTransform
from jaxcnn.explain.maximization.seeing import codes, images_of, looking
from jaxcnn.explain.maximization.units import WholeLayer, expect_activation
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["Inverted", "Match", "invert"]

TINY = 1e-12


class Inverted(NamedTuple):
    """Images with the codes of others, and how near they come."""

    images: jax.Array  # (..., H, W, C) in [0, 1]
    code_error: jax.Array  # (...), |code of the image found - code| / |code|
    image_error: jax.Array  # (...), |image found - image| / |image|
    history: jax.Array  # (steps, ...), the objective at each step


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Match(LayerObjective):
    """How near a layer's activation comes to a given one, in (-inf, 0]: -|a - code|^2 / |code|^2.

    Args:
        at: path of the layer, at any depth.
        code: what it should give, of the shape that it gives for one image, or for all images.

    Source: Mahendran, Vedaldi 2015, equation 2.
    """

    code: Any

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        found = seen.activations[self.at]
        axes = tuple(range(seen.images.ndim - 3, found.ndim))
        code = jnp.broadcast_to(self.code, found.shape)
        return -jnp.sum((found - code) ** 2, axes) / jnp.maximum(jnp.sum(code**2, axes), TINY)

    def check(self, where: str, seen: Seen) -> None:
        """Check the code."""
        shape = expect_activation(where, seen, self.at)
        fix = "Pass what surgery.activations gives there, for one image or for as many."
        expect_broadcast(where, f"a code of {self.at!r}", self.code, shape, fix)


def invert(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    x: jax.Array,
    *,
    at: str,
    prior: Objective | None = None,
    parameterization: Parameterization = FOURIER,
    transforms: tuple[RandomTransform, ...] = (),
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
) -> Inverted:
    """Return images that a layer cannot tell from those given, found from noise: what it no longer knows is missing.

        maximise -|f(image) - f(x)|^2 / |f(x)|^2 + prior(image),    f the net up to the layer

    Args:
        key: a PRNG key: of where the images begin.
        net, params, state: the trained net, which is applied with `train=False`.
        x: images (..., H, W, C) in [0, 1].
        at: path of the layer, at any depth.
        prior: what images are like, an objective that is added, such as `-0.001 * TotalVariation(power=2)`. Without
            any, the lower layers show best how much they know; with one, what is lost is guessed as smooth.
        parameterization, transforms, steps, optimizer: as for `maximize`.

    Returns:
        `Inverted`: images, relative errors of code and image, and history.

    Raises:
        ValueError: an unknown layer (the message has near ones), images out of [0, 1], steps below 1.

    Source: Mahendran, Vedaldi 2015, "Understanding deep image representations by inverting them".
    """
    x = images_of("invert", "x", x)
    look = looking("invert", net, params, state, WholeLayer(at))
    objective: Objective = Match(at, codes(look, x)[at])
    objective = objective if prior is None else objective + prior
    options = (parameterization, transforms, steps, optimizer, None)
    ascent = looking("invert", net, params, state, objective)
    found = ascended("invert", key, ascent, objective, x.shape, *options)
    code_error, image_error = _errors(look, found.images, x, at=at)
    return Inverted(found.images, code_error, image_error, found.history)


@partial(jax.jit, static_argnames="at")
def _errors(look: Any, found: jax.Array, x: jax.Array, *, at: str) -> tuple[jax.Array, jax.Array]:
    def error(found: jax.Array, wanted: jax.Array) -> jax.Array:
        axes = tuple(range(x.ndim - 3, found.ndim))
        return jnp.sqrt(jnp.sum((found - wanted) ** 2, axes) / jnp.maximum(jnp.sum(wanted**2, axes), TINY))

    return error(codes(look, found)[at], codes(look, x)[at]), error(found, x)
