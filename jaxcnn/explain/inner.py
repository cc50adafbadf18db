"""Inside a net: what a layer gives, how the score hangs on it, and the rest of the net as a function of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.score import Target, class_scores, prepared
from jaxcnn.layers.layer import Layer, Params, State, apply, expect_arrays, expect_net
from jaxcnn.surgery import activations, edit, paths
from jaxcnn.surgery.taps import inside
from jaxcnn.training.evaluation import predictor

__all__ = ["at_layer", "expect_map", "expect_trained", "inner_gradients", "layer_shapes", "net_prepared"]


def at_layer(net: Layer, params: Params, state: State, x: jax.Array, at: str) -> tuple[jax.Array, LogitsFn]:
    """Return what a layer gives, and the net as a function of it: every attribution works there, too.

        inside, logits_fn = explain.at_layer(net, params, state, x, "stage2")
        explain.integrated_gradients(logits_fn, inside, target)      # which units of stage2 decide?

    Args:
        net, params, state: the trained net, which is applied with `train=False`.
        x: images (..., H, W, C), floating.
        at: the path of the layer, at any depth. What leads around it, such as the shortcut of a block that it is in,
            goes on seeing x.

    Returns:
        The layer's output for x, and logits_fn: such an output, for as many images -> the net's outputs.

    Raises:
        ValueError: an unknown path; the message names the near ones.
        TypeError: x is not floating.
    """
    x = floating("at_layer", "x", x)
    found = inside(params, state, x, net=net, at=(at,))  # no more than leads to the layer
    return found[at], jax.tree_util.Partial(_Rest(net, at), params, state, x)


def net_prepared(
    where: str, net: Layer, params: Params, state: State, x: jax.Array, target: Target
) -> tuple[jax.Array, Any]:
    """Return x and target as arguments of a jitted function; raise an error unless they fit the net."""
    return prepared(where, predictor(net, params, state), x, target)[1:]


def expect_trained(where: str, net: Any, params: Any, state: Any) -> None:
    """Raise `TypeError` unless it is a net with weights."""
    expect_net(where, net)
    expect_arrays(where, "params", params)
    expect_arrays(where, "state", state)


def inner_gradients(
    net: Layer, params: Params, state: State, x: jax.Array, target: Any, at: Sequence[str]
) -> tuple[jax.Array, dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the scores (...), what the layers `at` some paths give, and the scores' gradients with respect to it.

    To be called under `jit`, on arguments that `prepared` has seen.
    """

    def total(added: dict[str, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, dict[str, jax.Array]]]:
        shifted = edit(net, {path: lambda y, path=path: y + added[path] for path in at})
        outputs, found = activations(shifted, params, state, x, at)
        scores = class_scores(outputs, target)
        return scores.sum(), (scores, found)

    like = jax.eval_shape(lambda x: activations(net, params, state, x, at)[1], x)
    nothing = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), like)
    (_, (scores, found)), slopes = jax.value_and_grad(total, has_aux=True)(nothing)
    return scores, found, slopes


def expect_map(where: str, net: Layer, params: Params, state: State, x: jax.Array, at: str) -> tuple[int, ...]:
    """Return the shape of a layer's output; raise `ValueError` unless it is a map, with as many axes as the images."""
    shape = layer_shapes(net, params, state, x, [at])[at] if at in paths(net) else ()
    ok = len(shape) == x.ndim >= 3 and min(shape[-3:-1]) >= 1
    if not ok:
        shapes = layer_shapes(net, params, state, x, [path for path in paths(net) if "/" not in path])
        maps = [path for path, given in shapes.items() if len(given) == x.ndim >= 3]
        got = f"{at!r}" + (f" of shape {shape}" if shape else "")
        fix = f"Choose among {maps}, say." if maps else "The net has none."
        expect(ok, where, "the path of a layer with a map (..., h, w, c)", got, fix)
    return shape


@dataclass(frozen=True)
class _Rest:
    """A net as a function of what one of its layers gives; the images matter where something leads around the layer."""

    net: Layer
    at: str

    def __call__(self, params: Params, state: State, x: jax.Array, inside: jax.Array) -> Any:
        return apply(edit(self.net, {self.at: lambda _: inside}), params, state, x, train=False)[0]


def layer_shapes(net: Layer, params: Params, state: State, x: Any, at: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what layers give for images like x, in the order of `at`; nothing is computed."""
    shapes = inside.eval_shape(params, state, x, net=net, at=tuple(at))
    return {path: shapes[path].shape for path in at}  # traced, a dict comes out in the alphabet's order
