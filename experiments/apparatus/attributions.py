"""Every attribution method under one signature, for experiments that compare them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.explain import attribution
from jaxcnn.explain.inner import layer_shapes
from jaxcnn.filters import Sobel
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery.tree import leaf_paths, modules, unwrapped
from jaxcnn.training import predictor

__all__ = ["Attribution", "attributions", "edges", "map_layer"]

SMALLEST = 4  # places along each side of a class activation map
DRAWS = 0  # the key of methods that draw: their noise is part of what they are

Method = Callable[[Layer, Params, State, jax.Array, Any], jax.Array]


class Attribution(NamedTuple):
    """A method as (net, params, state, x, target) -> maps, (n, H, W) or of x's shape."""

    fn: Method
    adds_up: bool  # whether its values are shares of the score, whose sign counts; slopes are not


def attributions(
    net: Layer, params: Params, state: State, x: jax.Array, names: Sequence[str] = ()
) -> dict[str, Attribution]:
    """Return the methods of these names, or all; windows and patches suit the images x (n, H, W, C).

    Class activation maps are those of the last layer that is fine enough; that of Zhou et al. is among them where the
    net ends as it wants.
    """
    at = map_layer(net, params, state, x)
    part = max(min(x.shape[1:3]) // 4, 2)
    slopes = {
        "gradient": _of_function(attribution.gradient),
        "SmoothGrad": _drawing(attribution.smoothgrad),
        "SmoothGrad squared": _drawing(attribution.smoothgrad_squared),
        "VarGrad": _drawing(attribution.vargrad),
        "guided backprop": attribution.guided_backprop,
        "deconvnet": attribution.deconvnet,
    }
    shares = {
        "gradient x input": _of_function(attribution.gradient_x_input),
        "integrated gradients": _of_function(attribution.integrated_gradients),
        "expected gradients": _expected_gradients,
        "Shapley sampling": _drawing(attribution.shapley_sampling, patch=part),
        "occlusion": _of_function(attribution.occlusion, window=part, stride=part // 2),
        "RISE": _drawing(attribution.rise, masks=256, cells=min(8, min(x.shape[1:3]) // 2)),
        "LRP epsilon": attribution.lrp,
        "LRP composite": partial(attribution.lrp, rule="composite"),
        "DeepLIFT": attribution.deeplift,
    }
    if at is not None:
        slopes["guided Grad-CAM"] = partial(attribution.guided_grad_cam, at=at)
        shares |= {
            "Grad-CAM": partial(attribution.grad_cam, at=at, upsample=True),
            "Grad-CAM++": partial(attribution.grad_cam_plus_plus, at=at, upsample=True),
            "HiResCAM": partial(attribution.hires_cam, at=at, upsample=True),
            "LayerCAM": partial(attribution.layer_cam, at=at, upsample=True),
            "Score-CAM": partial(attribution.score_cam, at=at, upsample=True),
        }
    cam = partial(attribution.cam, upsample=True)
    try:
        jax.eval_shape(partial(cam, net), params, state, x, 0)
    except ValueError:  # the net ends otherwise
        pass
    else:
        shares["CAM"] = cam
    found = {name: Attribution(fn, adds_up=False) for name, fn in slopes.items()}
    found |= {name: Attribution(fn, adds_up=True) for name, fn in shares.items()}
    unknown = [name for name in names if name not in found]
    expect(not unknown, "attributions", f"methods among {list(found)}", unknown, "Choose some of them.")
    return {name: method for name, method in found.items() if not names or name in names}


def edges() -> dict[str, Attribution]:
    """Return a method that looks at the image alone, as an edge detector does."""

    def fn(net: Layer, params: Params, state: State, x: jax.Array, target: Any) -> jax.Array:
        return jnp.abs(F.moving_sum(x, Sobel())).sum(axis=-1)

    return {"edges of the image": Attribution(fn, adds_up=False)}


def map_layer(net: Layer, params: Params, state: State, x: jax.Array) -> str | None:
    """Return the path of the last layer that gives a map of at least 4 x 4 places, or of the largest; None for none."""
    shapes = layer_shapes(net, params, state, x, trunk_paths(net))
    sides = {path: min(shape[-3:-1]) for path, shape in shapes.items() if len(shape) == x.ndim}
    least = min(SMALLEST, max(sides.values(), default=0))
    return next((path for path in reversed(sides) if sides[path] >= least), None)


def trunk_paths(net: Layer) -> list[str]:
    """Return the paths of the layers that are not made of layers, those of heads for training left out."""
    every = {"": net, **modules(net)}
    taps = {path: getattr(unwrapped(module), "taps", ()) for path, module in every.items()}
    heads = tuple(f"{path}/{head}/".lstrip("/") for path, some in taps.items() for head, _ in some)
    return [path for path in leaf_paths(net) if not f"{path}/".startswith(heads)]


def _of_function(method: Callable[..., jax.Array], **options: Any) -> Method:
    return lambda net, params, state, x, target: method(predictor(net, params, state), x, target, **options)


def _drawing(method: Callable[..., jax.Array], **options: Any) -> Method:
    key = jax.random.key(DRAWS)

    def fn(net: Layer, params: Params, state: State, x: jax.Array, target: Any) -> jax.Array:
        return method(jax.random.clone(key), predictor(net, params, state), x, target, **options)

    return fn


def _expected_gradients(net: Layer, params: Params, state: State, x: jax.Array, target: Any) -> jax.Array:
    """Return the method's maps with the images themselves as the background."""
    return attribution.expected_gradients(jax.random.key(DRAWS), predictor(net, params, state), x, target, background=x)
