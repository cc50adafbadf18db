"""Dense layers, which on images are 1x1 convolutions, and flattening, which has the channels last."""

from typing import Any

from jaxcnn import functional as F
from jaxcnn.interop.onnx.emitters.convolution import convolved
from jaxcnn.interop.onnx.site import Site, Value, is_images, register, size_of
from jaxcnn.layers.linear import Dense, Flatten, Maxout

__all__ = ["affine"]


def affine(site: Site, x: Value, kernel: Any, bias: Any) -> Value:
    """Return x @ kernel + bias along the channels of images or vectors."""
    if is_images(x):
        return convolved(site, x, kernel[None, None], bias)
    return site.op("Gemm", x, site.array("kernel", kernel), None if bias is None else site.array("bias", bias))


@register(Dense)
def _dense(site: Site, x: Value) -> Value:
    return affine(site, x, site.parameter("kernel"), site.parameter("bias"))


@register(Maxout)
def _maxout(site: Site, x: Value) -> Value:
    kernel, bias = site.params["kernel"], site.params.get("bias")
    pieces = [affine(site, x, kernel[p], None if bias is None else bias[p]) for p in range(site.layer.pieces)]
    return site.op("Max", *pieces)


@register(Flatten, F.flatten)
def _flatten(site: Site, x: Value) -> Value:
    if size_of(x) != (1, 1):
        x = site.op("Transpose", x, perm=[0, 2, 3, 1])
    return site.op("Flatten", x, axis=1)
