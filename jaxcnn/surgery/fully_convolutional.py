"""A classifier of windows as a net of whole images: its dense layer as a convolution."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, shown
from jaxcnn.layers.adaptive_pooling import GlobalAvgPool, GlobalMaxPool
from jaxcnn.layers.batch_norm import BatchNorm
from jaxcnn.layers.composition import Sequential, kept
from jaxcnn.layers.convolution import Conv, StandardizedConv
from jaxcnn.layers.layer import Layer, Params, Spec, State, apply, expect_arrays, expect_net, expect_spec
from jaxcnn.layers.linear import Dense, Flatten
from jaxcnn.layers.local_norm import LocalResponseNorm
from jaxcnn.layers.noise import Dropout
from jaxcnn.layers.normalize import Normalize
from jaxcnn.layers.pooling import AvgPool, LpPool, MaxPool

__all__ = ["fully_convolutional"]

WHERE = "fully_convolutional"
POINTWISE = (BatchNorm, Dense, Dropout, LocalResponseNorm, Normalize)  # what sees one place of a map at a time
WINDOWED = (AvgPool, Conv, LpPool, MaxPool, StandardizedConv)
Shape = tuple[int, ...]


def fully_convolutional(net: Layer, params: Params, state: State, spec: Spec) -> tuple[Any, Params, State]:
    """Return the net that gives, of a larger image, the classifier's outputs for every window, computed together.

        y'[i, j] = y(x[i s : i s + H, j s : j s + W])

    for windows H x W, the size of `spec`, and s the product of the net's strides. The first dense layer after
    `Flatten` becomes a convolution of the same weights, kernel (h, w, C, features) with h x w the map's size, and
    global pooling becomes pooling over h x w; the other layers are as they were. What windows share is computed once.

    Args:
        net: nested `Sequential`s of convolution, pooling, `Flatten` or global pooling, dense layers, batch norm,
            `Normalize`, dropout, local response norm, and functions that treat every place alike, such as
            `functional.relu`. None of them pads: at the edge of a window a padded layer sees zeros, where inside an
            image there are neighbours, and no map could be equal.
        params, state: its weights and running statistics.
        spec: shape and dtype of the classifier's images, (..., H, W, C).

    Returns:
        net, params, state: for `train=False`, images (..., H', W', C), H' >= H, to (..., h', w', features) with
        h' = (H' - H) // s + 1, or one more where the net leaves out an edge of a window. `Flatten` is gone; all other
        paths are as they were.

    Raises:
        ValueError: a layer that pads; another layer that windows cannot share; nothing that flattens or pools.

    Source: Matan et al. 1992 (replicated nets); Sermanet et al. 2014, section 3.5; Long et al. 2015, section 3.1.
    """
    expect_net(WHERE, net)
    expect_arrays(WHERE, "params", params)
    expect_arrays(WHERE, "state", state)
    expect_spec(WHERE, spec, one=True)
    new, weights, _, flat = _rewritten("", net, params, state, jax.ShapeDtypeStruct(spec.shape, spec.dtype), None)
    fix = "Pass a classifier that ends in a dense layer."
    expect(flat is None, WHERE, "a dense layer after Flatten", "none", fix)
    expect(
        new != net, WHERE, "a net with Flatten or a global pooling", shown(net), "It is one of whole images already."
    )
    return new, weights, state


def _rewritten(
    path: str, module: Any, params: Any, state: Any, spec: Any, flat: Shape | None
) -> tuple[Any, Any, Any, Shape | None]:
    """Return the layer (None of none), its weights, what comes out of the classifier's, and what waits to be dense.

    `flat` is the shape (h, w, C) of the map that `Flatten` has made a vector of.
    """
    if isinstance(module, Sequential):
        layers, weights = {}, dict(params)
        for name, child in module.layers.items():
            p, s = kept(params, name), kept(state, name)
            new, changed, spec, flat = _rewritten(f"{path}/{name}".strip("/"), child, p, s, spec, flat)
            layers |= {name: new} if new is not None else {}
            weights |= {name: changed} if name in weights else {}
        return Sequential(**layers), weights, spec, flat
    out = jax.eval_shape(lambda p, s, x: apply(module, p, s, x, train=False)[0], params, state, spec)
    if isinstance(module, Flatten):
        return None, params, out, spec.shape[-3:] if flat is None else flat
    if isinstance(module, Dense) and flat is not None:
        layer = Conv(
            module.features,
            flat[:2],
            padding="VALID",
            use_bias=module.use_bias,
            kernel_init=module.kernel_init,
            bias_init=module.bias_init,
        )
        kernel = jnp.reshape(params["kernel"], (*flat, module.features))
        return layer, {**params, "kernel": kernel}, out, None
    if isinstance(module, GlobalAvgPool | GlobalMaxPool):
        kind = AvgPool if isinstance(module, GlobalAvgPool) else MaxPool
        return kind(spec.shape[-3:-1], stride=1), params, out, None
    _expect_shared(path, module, spec, out, flat)
    return module, params, out, flat


def _expect_shared(path: str, module: Any, spec: Any, out: Any, flat: Shape | None) -> None:
    """Raise `ValueError` unless the layer does to a window what it does to the image around it."""
    if isinstance(module, Layer):
        pointwise = isinstance(module, POINTWISE if flat is None else Dropout)
        known = pointwise or isinstance(module, WINDOWED)
        fix = "Choose a layer that treats every place alike."
    else:
        known = out.shape == spec.shape and _treats_alike(module, spec, flat)
        fix = "Choose a function that treats every place alike, such as functional.relu."
    expect(known, WHERE, "layers that windows can share", f"{shown(module)} at {path!r}", fix)
    if isinstance(module, WINDOWED):
        fix = 'Train the classifier with padding="VALID".'
        expect(not _pads(module), WHERE, "layers without padding", f"some at {path!r}", fix)


def _treats_alike(fn: Any, spec: Any, flat: Shape | None) -> bool:
    """Return whether the function gives the same for a part as inside of the whole: an instance norm does not."""
    axes = (-1,) if flat is not None else range(-3, -1) if len(spec.shape) >= 3 else ()
    larger, part = list(spec.shape), [slice(None)] * len(spec.shape)
    for axis in axes:
        part[axis] = slice(larger[axis])
        larger[axis] += 1
    whole = jax.random.normal(jax.random.key(0), larger, spec.dtype)
    try:
        return bool(jnp.allclose(fn(whole)[tuple(part)], fn(whole[tuple(part)]), rtol=1e-3, atol=1e-3, equal_nan=True))
    except (TypeError, ValueError):  # of a function of one size
        return False


def _pads(module: Any) -> bool:
    if getattr(module, "ceil_mode", False):
        return True
    if module.padding == "SAME":
        window: Any = module.kernel_size if isinstance(module, Conv | StandardizedConv) else module.window
        return max(window) > 1
    return module.padding != "VALID" and any(side > 0 for axis in module.padding for side in axis)
