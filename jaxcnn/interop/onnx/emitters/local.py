"""Layers of the neighbourhood: by other kernels at every pixel, or divided by what is around."""

import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.functional.local_norm import gaussian_means
from jaxcnn.interop.onnx.emitters.convolution import convolved
from jaxcnn.interop.onnx.emitters.linear import affine
from jaxcnn.interop.onnx.site import Site, Value, channels_of, is_images, register, size_of
from jaxcnn.layers.local_conv import LocalConv
from jaxcnn.layers.local_norm import LocalContrastNorm, LocalResponseNorm

__all__: list[str] = []


@register(LocalConv)
def _local_conv(site: Site, x: Value) -> Value:
    kernel, bias, layer = site.parameter("kernel"), site.parameter("bias"), site.layer
    assert kernel is not None
    height, width, kh, kw, channels, features = kernel.shape
    # A convolution whose every kernel takes one pixel of one channel gives patches; a matrix for each is left to do.
    taps = np.tile(np.eye(kh * kw).reshape(kh, kw, 1, kh * kw), (1, 1, 1, channels))
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    patches = convolved(site, x, taps, groups=channels, **options)
    rows = site.op("Reshape", patches, site.array("rows", [0, channels * kh * kw, height * width]))
    by_pixel = site.op("Transpose", rows, perm=[2, 0, 1])
    weights = kernel.reshape(height * width, kh * kw, channels, features).swapaxes(1, 2)
    y = site.op("MatMul", by_pixel, site.array("weights", weights.reshape(height * width, -1, features)))
    if bias is not None:
        y = site.op("Add", y, site.array("bias", bias.reshape(height * width, 1, features)))
    return site.op("Reshape", site.op("Transpose", y, perm=[1, 2, 0]), site.array("maps", [0, features, height, width]))


@register(LocalResponseNorm)
def _local_response_norm(site: Site, x: Value) -> Value:
    layer = site.layer
    if is_images(x) and layer.size % 2:
        alpha = layer.alpha * layer.size  # which ONNX divides by the size
        return site.op("LRN", x, size=layer.size, alpha=alpha, beta=layer.beta, bias=layer.k)
    # Even windows reach further on the other side in ONNX, and vectors have none.
    channel = np.arange(channels_of(x))
    ahead = channel[None, :] - channel[:, None]  # of the output's channel over the input's
    window = (-((layer.size - 1) // 2) <= ahead) & (ahead <= layer.size // 2)
    energy = affine(site, site.through(_square, x), window.astype(np.float32), None)
    base = site.op("Add", site.op("Mul", energy, site.array("alpha", layer.alpha)), site.array("k", layer.k))
    return site.op("Div", x, site.op("Pow", base, site.array("beta", layer.beta)))


def _square(x):
    return jnp.square(x)


@register(_square)
def _squared(site: Site, x: Value) -> Value:
    return site.op("Mul", x, x)


@register(F.local_response_norm)
def _function(site: Site, x: Value) -> Value:
    return site.through(LocalResponseNorm(), x)


@register(LocalContrastNorm)
def _local_contrast_norm(site: Site, x: Value) -> Value:
    layer = site.layer
    sigma = layer.size / 4 if layer.sigma is None else layer.sigma
    down, across = (np.asarray(gaussian_means(n, layer.size, sigma, np.float32)) for n in size_of(x))
    rows, columns, channel = site.array("rows", down), site.array("columns", across.T), site.array("channel", [1])

    def local_mean(v: Value) -> Value:
        flat = site.op("ReduceMean", v, channel, keepdims=1)
        return site.op("MatMul", site.op("MatMul", rows, flat), columns)

    v = site.op("Sub", x, local_mean(x))
    if not layer.divisive:
        return v
    least = site.array("least", layer.eps**2)
    deviation = site.op("Sqrt", site.op("Max", local_mean(site.op("Mul", v, v)), least))
    mean = site.op("ReduceMean", deviation, site.array("pixels", [2, 3]), keepdims=1)
    return site.op("Div", v, site.op("Max", deviation, mean))


@register(F.local_contrast_norm)
def _contrast(site: Site, x: Value) -> Value:
    return site.through(LocalContrastNorm(), x)
