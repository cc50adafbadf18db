"""Style transfer: an image with the arrangement of one and the texture of another, as an example of using features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.checking import expect
from jaxcnn.explain.maximization.inversion import Match
from jaxcnn.explain.maximization.maximize import ADAM, Maximized, ascended
from jaxcnn.explain.maximization.objective import LayerObjective, Objective, Seen, Sum, expect_broadcast
from jaxcnn.explain.maximization.parameterization import Parameterization, Pixels
from jaxcnn.explain.maximization.priors import gram
from jaxcnn.explain.maximization.robustness import RandomTransform
from jaxcnn.explain.maximization.seeing import codes, images_of, looking
from jaxcnn.explain.maximization.units import WholeLayer, expect_activation
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery.tree import paths_in

__all__ = ["GramMatch", "style_transfer"]

PIXELS = Pixels()
TINY = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GramMatch(LayerObjective):
    """How near a layer's Gram matrix comes to a given one, in (-inf, 0]: -|G - G'|^2 / |G'|^2.

        G = mean over positions of a a^T: which channels answer together, wherever that is

    Args:
        at: path of the layer, at any depth.
        gram: G', (c, c) for all images or (..., c, c).

    Source: Gatys, Ecker, Bethge 2016, equations 3 and 4, but for the factor that each layer has.
    """

    gram: Any

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        found = gram(seen.activations[self.at], seen.images.ndim - 3)
        wanted = jnp.maximum(jnp.sum(self.gram**2, (-2, -1)), TINY)
        return -jnp.sum((found - self.gram) ** 2, (-2, -1)) / wanted

    def check(self, where: str, seen: Seen) -> None:
        """Check the Gram matrix."""
        shape = expect_activation(where, seen, self.at)
        shape = (*seen.images.shape[:-3], shape[-1], shape[-1])
        expect_broadcast(where, f"a Gram matrix of {self.at!r}", self.gram, shape, "Pass one, or one for each image.")


def style_transfer(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    content: jax.Array,
    style: jax.Array,
    *,
    content_at: str,
    style_at: Sequence[str],
    style_weight: float = 1.0,
    prior: Objective | None = None,
    parameterization: Parameterization = PIXELS,
    transforms: tuple[RandomTransform, ...] = (),
    steps: int = 256,
    optimizer: optax.GradientTransformation = ADAM,
) -> Maximized:
    """Return images, begun at `content`, with its activations at one layer and the Gram matrices of `style` at others.

        maximise -|f(image) - f(content)|^2 / |f(content)|^2 - style_weight mean_l |G_l - G'_l|^2 / |G'_l|^2

    Args:
        key: a PRNG key, of how images are moved.
        net, params, state: the trained net, which is applied with `train=False`.
        content: images (..., H, W, C) in [0, 1].
        style: one image, or as many, (..., H', W', C) in [0, 1].
        content_at: path of the layer that knows what is where.
        style_at: paths of the layers whose Gram matrices are the texture.
        style_weight: of the texture beside the arrangement; a number, or one an image.
        prior: what images are like, an objective that is added.
        parameterization, transforms, steps, optimizer: as for `maximize`.

    Returns:
        `Maximized`, as of `maximize`.

    Raises:
        ValueError: an unknown layer (the message has near ones), images out of [0, 1], steps below 1.

    Source: Gatys, Ecker, Bethge 2016, "Image style transfer using convolutional neural networks", whose net is VGG-19.
    """
    where = "style_transfer"
    content, style = images_of(where, "content", content), images_of(where, "style", style)
    textures = paths_in(where, style_at)
    expect(len(textures) > 0, where, "at least one layer in style_at", "none", 'Pass ["stage1", "stage2"], say.')
    look = looking(where, net, params, state, WholeLayer(content_at))
    look_at_style = looking(where, net, params, state, Sum(tuple(map(WholeLayer, textures))))
    grams = _grams(look_at_style, style, lead=style.ndim - 3)
    texture = Sum(tuple(GramMatch(path, grams[path]) for path in textures))
    objective = Match(content_at, codes(look, content)[content_at]) + (style_weight / len(textures)) * texture
    objective = objective if prior is None else objective + prior
    options = (parameterization, transforms, steps, optimizer, content)
    ascent = looking("style_transfer", net, params, state, objective)
    return ascended("style_transfer", key, ascent, objective, content.shape, *options)


@partial(jax.jit, static_argnames="lead")
def _grams(look: Any, images: jax.Array, *, lead: int) -> dict[str, jax.Array]:
    return {path: gram(found, lead) for path, found in codes(look, images).items()}
