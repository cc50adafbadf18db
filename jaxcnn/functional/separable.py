"""Convolution in two steps: each channel by itself, then the channels of each pixel."""

import jax

from jaxcnn.checking import expect, floating, shaped
from jaxcnn.functional.convolution import convolved
from jaxcnn.functional.window import IMAGES_ONLY, Padding, Size, images

__all__ = ["depthwise_conv", "separable_conv"]


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "SAME",
    dilation: Size = 1,
) -> jax.Array:
    """Return every channel of the images convolved with kernels of its own, m for each.

    y[i, j, c m + n] = bias[c m + n] + sum_{u, v} x[i s + u d - p, j s + v d - p, c] kernel[u, v, 0, c m + n]

    Args:
        x: images (..., H, W, C), any number of leading axes, none included. Its dtype is the compute dtype.
        kernel: weights (kh, kw, 1, C * m), the m kernels of the first channel first, cast to the dtype of x.
        bias: (C * m,), or None.
        stride: pixels between outputs, one int or (vertical, horizontal).
        padding: "SAME" (ceil(H / stride) outputs), "VALID" (no padding), pixels on every side, or
            ((top, bottom), (left, right)).
        dilation: pixels between the taps of a kernel.

    Returns:
        Maps (..., H', W', C * m) of x's dtype.

    Raises:
        ValueError: wrong rank, channel counts that do not match, a window larger than the padded image.
        TypeError: x or kernel of a dtype that is not floating.

    Source: Howard et al. 2017 (MobileNets), section 3.1; agrees with `flax.linen.Conv(feature_group_count=C)` and
    `torch.nn.functional.conv2d(groups=C)`.
    """
    x, kernel = images("depthwise_conv", x), floating("depthwise_conv", "kernel", kernel)
    _expect_depthwise("depthwise_conv", "kernel", x, kernel)
    return convolved("depthwise_conv", x, kernel, bias, stride, padding, dilation, x.shape[-1])


def separable_conv(
    x: jax.Array,
    depthwise_kernel: jax.Array,
    pointwise_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "SAME",
    dilation: Size = 1,
) -> jax.Array:
    """Return a depthwise convolution followed by one of 1x1: space first, then channels, nothing in between.

    y = conv(depthwise_conv(x, depthwise_kernel, stride, padding, dilation), pointwise_kernel) + bias

    Args:
        x: images (..., H, W, C_in), any number of leading axes, none included. Its dtype is the compute dtype.
        depthwise_kernel: weights (kh, kw, 1, C_in * m), cast to the dtype of x.
        pointwise_kernel: weights (1, 1, C_in * m, C_out), cast to the dtype of x.
        bias: (C_out,), or None.
        stride: pixels between outputs, one int or (vertical, horizontal).
        padding: "SAME" (ceil(H / stride) outputs), "VALID" (no padding), pixels on every side, or
            ((top, bottom), (left, right)).
        dilation: pixels between the taps of a depthwise kernel.

    Returns:
        Maps (..., H', W', C_out) of x's dtype.

    Raises:
        ValueError: wrong rank, channel counts that do not match, a window larger than the padded image.
        TypeError: x or a kernel of a dtype that is not floating.

    Source: Chollet 2017 (Xception), section 1.1, without the nonlinearity between (section 4.7); agrees with two
    `flax.linen.Conv`, the first of feature_group_count=C_in, and with Keras's `SeparableConv2D`.
    """
    where = "separable_conv"
    x, deep = images(where, x), floating(where, "depthwise_kernel", depthwise_kernel)
    point = floating(where, "pointwise_kernel", pointwise_kernel)
    _expect_depthwise(where, "depthwise_kernel", x, deep)
    expect(
        point.ndim == 4 and point.shape[:3] == (1, 1, deep.shape[-1]),
        where,
        f"a pointwise_kernel of shape (1, 1, {deep.shape[-1]}, C_out)",
        point.shape,
        "Match its third axis to the depthwise_kernel's last." if point.ndim != 3 or x.ndim != 3 else IMAGES_ONLY,
    )
    if bias is not None:
        bias = shaped(where, "bias", bias, (point.shape[-1],))
    y = convolved(where, x, deep, None, stride, padding, dilation, x.shape[-1])
    return convolved(where, y, point, bias, 1, "VALID", 1, 1)


def _expect_depthwise(where: str, name: str, x: jax.Array, kernel: jax.Array) -> None:
    channels = x.shape[-1]
    expect(channels > 0, where, "images of at least one channel", x.shape, "A grey image has C = 1, last.")
    expect(
        kernel.ndim == 4 and kernel.shape[2] == 1 and kernel.shape[3] > 0 and kernel.shape[3] % channels == 0,
        where,
        f"a {name} of shape (kh, kw, 1, {channels} * m) for images of {channels} channels",
        kernel.shape,
        "Give each channel m kernels of its own." if kernel.ndim != 3 or x.ndim != 3 else IMAGES_ONLY,
    )
