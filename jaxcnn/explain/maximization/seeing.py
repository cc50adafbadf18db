"""What a net makes of images, as far as an objective reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from jaxcnn.checking import expect, floating
from jaxcnn.explain.inner import expect_trained
from jaxcnn.explain.maximization.objective import Objective, Seen, settled
from jaxcnn.explain.maximization.robustness import RandomTransform, moved
from jaxcnn.explain.values import expect_pixels
from jaxcnn.layers.composition import Sequential
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations
from jaxcnn.surgery.tree import wrap_at

__all__ = ["codes", "images_of", "looking", "seen_of"]


def looking(where: str, net: Any, params: Any, state: Any, objective: Any) -> jax.tree_util.Partial:
    """Return images -> (outputs, activations that the objective reads), as a pytree, running no more than that needs.

    Raise an error unless the net is one that has these layers.
    """
    expect_trained(where, net, params, state)
    objective = settled(where, objective)
    at = objective.layers
    wrap_at(where, net, dict.fromkeys(at, lambda layer: layer))
    if at and not objective.reads_outputs and isinstance(net, Sequential):
        net = net[: 1 + max(list(net.layers).index(path.split("/")[0]) for path in at)]
    return jax.tree_util.Partial(_Look(net, at), params, state)


def seen_of(
    where: str,
    look: Any,
    objective: Objective,
    spec: Any,
    transforms: tuple[RandomTransform, ...] = (),
    *,
    fix: str = "Change shape",
) -> Seen:
    """Return the shapes of what an objective sees of images; raise an error unless net and objective take them."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    turned = jax.eval_shape(partial(moved, transforms), key, spec)
    try:
        outputs, found = jax.eval_shape(lambda look, x: look(x), look, turned)
    except (ValueError, TypeError) as error:
        message = f"{where}: expected images that the net takes, got shape {turned.shape}. {fix} ({error})."
        raise ValueError(message) from error
    seen = Seen(spec, outputs, found)
    objective.check(where, seen)
    return seen


def images_of(where: str, name: str, images: Any) -> jax.Array:
    """Return images (..., H, W, C) as an array; raise an error unless they are floating and in [0, 1]."""
    images = floating(where, name, images)
    ok = images.ndim >= 3 and images.size > 0
    expect(ok, where, f"{name} (..., H, W, C) with a pixel", images.shape, "Grey images have one channel.")
    expect_pixels(where, name, images)
    return images


@jax.jit
def codes(look: Any, images: jax.Array) -> dict[str, jax.Array]:
    """Return what the layers give that `looking` was asked for."""
    return dict(look(images)[1])


@dataclass(frozen=True)
class _Look:
    net: Layer
    at: tuple[str, ...]

    def __call__(self, params: Params, state: State, images: jax.Array) -> tuple[Any, Mapping[str, jax.Array]]:
        return activations(self.net, params, state, images, self.at)
