"""A net of jaxcnn described in what every library has, so that the larger models need not be written in each again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.layers import (
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    LayerScale,
    MaxPool,
    Residual,
    Sequential,
)
from jaxcnn.layers.layer import Module, apply, init, name_of
from jaxcnn.models.convnext import exact_gelu

FUNCTIONS = {F.relu: "relu", exact_gelu: "gelu"}


class Part(NamedTuple):
    """A layer: its kind, its options as Flax calls them, and what it is made of.

    Kinds: "chain", and "sum" of its branch and its shortcut, which may be a chain of nothing; "conv", "dense",
    "batch_norm", "layer_norm", "scale", "max_pool", "mean", "flatten", "relu", "gelu". `inputs`: channels.
    """

    kind: str
    inputs: int
    options: Mapping[str, Any] = {}
    parts: Sequence["Part"] = ()


def described(module: Module, spec: jax.ShapeDtypeStruct) -> Part:
    """Return the description of a net for images like `spec`; raise `ValueError` where it has a layer of another kind.

    What drops nothing, and pools to the size that there is, is left out.
    """
    inputs = spec.shape[-1]
    chain = Part("chain", inputs)
    if isinstance(module, Sequential):
        parts = []
        for child in module.layers.values():
            parts.append(described(child, spec))
            spec = after(child, spec)
        return chain._replace(parts=parts)
    if isinstance(module, Residual):
        shortcut = chain if module.shortcut is None else described(module.shortcut, spec)
        return Part("sum", inputs, {}, [described(module.branch, spec), shortcut])
    if isinstance(module, Conv | DepthwiseConv):
        depthwise = isinstance(module, DepthwiseConv)
        options = {
            "features": inputs * module.multiplier if depthwise else module.features,
            "kernel_size": module.kernel_size,
            "strides": module.stride,
            "padding": module.padding,
            "feature_group_count": inputs if depthwise else module.groups,
            "use_bias": module.use_bias,
        }
        return Part("conv", inputs, options)
    if isinstance(module, Dense):
        return Part("dense", inputs, {"features": module.features, "use_bias": module.use_bias})
    if isinstance(module, BatchNorm):
        return Part("batch_norm", inputs, {"momentum": module.decay, "epsilon": module.eps})
    if isinstance(module, LayerNorm):
        return Part("layer_norm", inputs, {"epsilon": module.eps})
    if isinstance(module, MaxPool):
        options = {"window_shape": module.window, "strides": module.stride or module.window, "padding": module.padding}
        return Part("max_pool", inputs, options)
    known: dict[Any, str] = {LayerScale: "scale", GlobalAvgPool: "mean", Flatten: "flatten"} | FUNCTIONS
    if (kind := known.get(module if module in FUNCTIONS else type(module))) is not None:
        return Part(kind, inputs)
    nothing = isinstance(module, Dropout | DropPath) and module.rate == 0
    nothing |= isinstance(module, AdaptiveAvgPool) and after(module, spec).shape == spec.shape
    expect(nothing, "described", "a layer that other libraries have", name_of(module), "Add it to nets/description.py.")
    return chain


def after(module: Module, spec: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Return shape and dtype of what a layer gives."""

    def run(key: jax.Array, x: jax.Array) -> jax.Array:
        return apply(module, *init(module, key, x), x, train=False)[0]

    found = jax.eval_shape(run, jax.random.key(0), spec)
    return jax.ShapeDtypeStruct(found.shape, found.dtype)
