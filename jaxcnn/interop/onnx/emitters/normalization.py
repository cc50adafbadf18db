"""Normalization by running statistics, and of each example by its own."""

from typing import Any

import numpy as np

from jaxcnn import functional as F
from jaxcnn.interop.onnx.site import Site, Value, channels_of, is_images, register
from jaxcnn.layers.batch_norm import BatchNorm
from jaxcnn.layers.group_norm import GroupNorm, InstanceNorm, LayerNorm

__all__: list[str] = []


def _affine(site: Site, x: Value) -> list[Value]:
    """Return scale and bias, 1 and 0 where the layer has none."""
    found: list[tuple[str, Any, Any]] = [
        ("scale", site.parameter("scale"), np.ones),
        ("bias", site.parameter("bias"), np.zeros),
    ]
    return [site.array(name, fill(channels_of(x)) if value is None else value) for name, value, fill in found]


@register(BatchNorm)
def _batch_norm(site: Site, x: Value) -> Value:
    moments = [site.array(name, getattr(site.state, name)) for name in ("mean", "var")]
    return site.op("BatchNormalization", x, *_affine(site, x), *moments, epsilon=site.layer.eps)


@register(LayerNorm)
def _layer_norm(site: Site, x: Value) -> Value:
    last = site.op("Transpose", x, perm=[0, 2, 3, 1]) if is_images(x) else x
    y = site.op("LayerNormalization", last, *_affine(site, x), axis=-1, epsilon=site.layer.eps)
    return site.op("Transpose", y, perm=[0, 3, 1, 2]) if is_images(x) else y


@register(GroupNorm)
def _group_norm(site: Site, x: Value) -> Value:
    groups, eps = site.layer.groups, site.layer.eps
    return site.op("GroupNormalization", x, *_affine(site, x), num_groups=groups, epsilon=eps)


@register(InstanceNorm)
def _instance_norm(site: Site, x: Value) -> Value:
    return site.op("InstanceNormalization", x, *_affine(site, x), epsilon=site.layer.eps)


for _function, _layer in {
    F.layer_norm: LayerNorm(use_scale=False, use_bias=False),
    F.group_norm: GroupNorm(use_scale=False, use_bias=False),
    F.instance_norm: InstanceNorm(use_scale=False, use_bias=False),
}.items():
    register(_function)(lambda site, x, layer=_layer: site.through(layer, x))
