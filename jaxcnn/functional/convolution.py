"""Convolution: local connectivity and shared weights."""

import jax
from jax import lax

from jaxcnn.checking import expect, floating, shaped
from jaxcnn.functional.window import Padding, Size, flat_batch, images, pair, resolve_padding

__all__ = ["conv"]


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "SAME",
    dilation: Size = 1,
    groups: int = 1,
) -> jax.Array:
    """Return the images convolved with a bank of kernels (cross-correlation, as in all deep-learning libraries).

    y[i, j, o] = bias[o] + sum_{u, v, c} x[i s + u d - p, j s + v d - p, c] kernel[u, v, c, o]

    Args:
        x: images (..., H, W, C_in), any number of leading axes, none included. Its dtype is the compute dtype.
        kernel: weights (kh, kw, C_in / groups, C_out), cast to the dtype of x.
        bias: (C_out,), or None.
        stride: pixels between outputs, one int or (vertical, horizontal).
        padding: "SAME" (ceil(H / stride) outputs), "VALID" (no padding), pixels on every side, or
            ((top, bottom), (left, right)).
        dilation: pixels between the taps of a kernel.
        groups: the channels are split into this many groups that do not see each other; C_in makes it depthwise.

    Returns:
        Maps (..., H', W', C_out) of x's dtype.

    Raises:
        ValueError: wrong rank, channel counts that do not match, a window larger than the padded image.
        TypeError: x or kernel of a dtype that is not floating.

    Source: LeCun et al. 1998, section II.A; agrees with `flax.linen.Conv` and `torch.nn.functional.conv2d`.
    """
    x, kernel = images("conv", x), floating("conv", "kernel", kernel)
    stride, dilation = pair("conv", "stride", stride), pair("conv", "dilation", dilation)
    expect(
        kernel.ndim == 4,
        "conv",
        "a kernel of shape (kh, kw, C_in / groups, C_out)",
        kernel.shape,
        "Put the input channels third and the output channels last.",
    )
    kh, kw, per_group, features = kernel.shape
    expect(
        isinstance(groups, int) and groups >= 1 and features % groups == 0,
        "conv",
        f"groups that divide the {features} output channels",
        repr(groups),
        "Choose a divisor of the kernel's last axis.",
    )
    expect(
        x.shape[-1] == per_group * groups,
        "conv",
        f"images of {per_group * groups} channels for a kernel of shape {kernel.shape} and groups={groups}",
        f"x of shape {x.shape}",
        "Match the kernel's third axis to the images' last.",
    )
    pads = resolve_padding("conv", padding, x.shape[-3:-1], (kh, kw), stride, dilation)
    if bias is not None:
        bias = shaped("conv", "bias", bias, (features,))
    batch, lead = flat_batch(x)
    y = lax.conv_general_dilated(
        batch,
        kernel.astype(x.dtype),
        stride,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    y = y.reshape(*lead, *y.shape[1:])
    return y if bias is None else y + bias.astype(x.dtype)
