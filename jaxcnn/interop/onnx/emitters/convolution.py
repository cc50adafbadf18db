"""Convolutions: kernels (kh, kw, C_in / groups, C_out) become (C_out, C_in / groups, kh, kw)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcnn import functional as F
from jaxcnn.functional.window import Padding, Pads, resolve_padding
from jaxcnn.interop.onnx.site import Site, Value, channels_of, register, size_of
from jaxcnn.layers.convolution import Conv, StandardizedConv
from jaxcnn.layers.filtering import MovingSum
from jaxcnn.layers.separable import DepthwiseConv, SeparableConv
from jaxcnn.layers.transposed import ConvTranspose

__all__ = ["convolved", "corners"]


def corners(pads: Pads) -> list[int]:
    """Return pixels added at the top, on the left, at the bottom and on the right."""
    return [before for before, _ in pads] + [after for _, after in pads]


def convolved(
    site: Site,
    x: Value,
    kernel: Any,
    bias: Any = None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Padding = "VALID",
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    """Return the images convolved with a kernel of jaxcnn's axes."""
    kernel = np.asarray(kernel)
    window, steps, gaps = (tuple(pair) for pair in (kernel.shape[:2], stride, dilation))
    pads = resolve_padding("export", padding, size_of(x), window, steps, gaps)
    return site.op(
        "Conv",
        x,
        site.array("kernel", kernel.transpose(3, 2, 0, 1)),
        None if bias is None else site.array("bias", bias),
        kernel_shape=window,
        strides=steps,
        pads=corners(pads),
        dilations=gaps,
        group=groups,
    )


def _options(layer: Any) -> dict[str, Any]:
    return {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}


@register(Conv)
def _conv(site: Site, x: Value) -> Value:
    weights = site.parameter("kernel"), site.parameter("bias")
    return convolved(site, x, *weights, groups=site.layer.groups, **_options(site.layer))


@register(StandardizedConv)
def _standardized_conv(site: Site, x: Value) -> Value:
    kernel = F.weight_standardization(site.params["kernel"], eps=site.layer.eps)
    return convolved(site, x, kernel, site.parameter("bias"), groups=site.layer.groups, **_options(site.layer))


@register(DepthwiseConv)
def _depthwise_conv(site: Site, x: Value) -> Value:
    weights = site.parameter("kernel"), site.parameter("bias")
    return convolved(site, x, *weights, groups=channels_of(x), **_options(site.layer))


@register(SeparableConv)
def _separable_conv(site: Site, x: Value) -> Value:
    layer, options = site.layer, _options(site.layer)
    deep = DepthwiseConv(layer.kernel_size, multiplier=layer.multiplier, use_bias=False, **options)
    maps = site.through(deep, x, site.params["depthwise"])
    return site.through(Conv(layer.features, 1, use_bias=layer.use_bias), maps, site.params["pointwise"])


@register(MovingSum)
def _moving_sum(site: Site, x: Value) -> Value:
    channels = channels_of(x)
    bank = np.tile(np.asarray(site.layer.bank())[:, :, None], (1, 1, 1, channels))
    return convolved(site, x, bank, stride=site.layer.stride, padding=site.layer.padding, groups=channels)


@register(ConvTranspose)
def _conv_transpose(site: Site, x: Value) -> Value:
    layer, kernel, bias = site.layer, np.asarray(site.params["kernel"]), site.parameter("bias")
    pads, extra = [], []
    for axis, n in enumerate(size_of(x)):
        s, span = layer.stride[axis], (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        painted = (n - 1) * s + span
        if isinstance(layer.padding, str):
            whole = n * s if layer.padding == "SAME" else max(painted, n * s)
            before, after = max(painted - whole, 0) // 2, painted - whole - max(painted - whole, 0) // 2
        else:
            before, after = layer.padding[axis]
            after -= layer.output_padding[axis]
        pads.append((before, max(after, 0)))
        extra.append(max(-after, 0))
    kh, kw, per_group, features = kernel.shape
    # Turned round, and from (C_in / groups, C_out) to (C_in, C_out / groups).
    turned = kernel[::-1, ::-1].reshape(kh, kw, per_group, layer.groups, features // layer.groups)
    weights = turned.transpose(3, 2, 4, 0, 1).reshape(layer.groups * per_group, features // layer.groups, kh, kw)
    return site.op(
        "ConvTranspose",
        x,
        site.array("kernel", weights),
        None if bias is None else site.array("bias", bias),
        kernel_shape=(kh, kw),
        strides=layer.stride,
        pads=corners(tuple(pads)),
        output_padding=extra,
        dilations=layer.dilation,
        group=layer.groups,
    )
