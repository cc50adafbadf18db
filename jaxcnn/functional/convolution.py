"""Convolution: local connectivity and shared weights."""

from collections.abc import Sequence

import jax

from jaxcnn.checking import expect, floating, is_int, plain, shaped, shown
from jaxcnn.functional.primitives.convolve import convolve
from jaxcnn.functional.spread import spread
from jaxcnn.functional.window import IMAGES_ONLY, Padding, Pads, Size, flat_batch, per_axis, resolve_padding

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

    The kernel's rank says along how many axes it slides: one of shape (k, C_in / groups, C_out) along signals
    (..., L, C_in), one of (kd, kh, kw, C_in / groups, C_out) through volumes (..., D, H, W, C_in). Options then have
    one entry or three where the following says two.

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

    Source: LeCun et al. 1998, section II.A; agrees with `flax.linen.Conv` and `torch.nn.functional.conv1d`,
    `conv2d` and `conv3d`, for finite pixels: on a CPU others may reach maps beyond their windows, times zero.
    """
    x, kernel = floating("conv", "x", x), floating("conv", "kernel", kernel)
    groups = plain(groups)
    expect_kernel("conv", x, kernel, groups)
    return convolved("conv", x, kernel, bias, stride, padding, dilation, groups)


def convolved(
    where: str,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
) -> jax.Array:
    """Return what `conv` returns, the kernel having been checked, with errors in the name of `where`."""
    rank = kernel.ndim - 2
    steps, gaps = per_axis(where, "stride", stride, rank), per_axis(where, "dilation", dilation, rank)
    pads = resolve_padding(where, padding, x.shape[-rank - 1 : -1], kernel.shape[:rank], steps, gaps)
    if bias is not None:
        bias = shaped(where, "bias", bias, kernel.shape[-1:])
    y = slide(x, kernel, steps, pads, gaps, groups)
    return y if bias is None else y + spread(bias, y)


def slide(
    x: jax.Array,
    kernel: jax.Array,
    stride: tuple[int, ...],
    pads: Pads,
    dilation: tuple[int, ...],
    groups: int,
) -> jax.Array:
    """Return the images, of any leading axes, convolved with the kernel: what all functions of the family rest on.

    Args:
        x: images (..., H, W, C_in).
        kernel: (kh, kw, C_in / groups, C_out), cast to the dtype of x.
        stride: pixels between outputs, (vertical, horizontal).
        pads: pixels added (before, after) on each axis, >= 0.
        dilation: pixels between taps, (vertical, horizontal).
        groups: of channels.
    """
    batch, lead = flat_batch(x, kernel.ndim - 2)
    y = convolve(batch, kernel.astype(x.dtype), stride=stride, padding=pads, dilation=dilation, groups=groups)
    return y.reshape(*lead, *y.shape[1:])


def expect_kernel(where: str, x: jax.Array, kernel: jax.Array, groups: int, ranks: Sequence[int] = (1, 2, 3)) -> None:
    """Raise `ValueError` unless the kernel is (*window, C_in / groups, C_out) for x (..., *size, C_in).

    Args:
        where: the function that is called.
        x, kernel: its arguments.
        groups: of channels.
        ranks: how many window axes the kernel may have.
    """
    expect(
        kernel.ndim - 2 in ranks,
        where,
        "a kernel of shape (kh, kw, C_in / groups, C_out)"
        + (", or with one or three window axes" if 3 in ranks else ""),
        kernel.shape,
        "Put the input channels last but one and the output channels last."
        if kernel.ndim != 3 or x.ndim != 3
        else IMAGES_ONLY,
    )
    axes = {3: "L", 4: "H, W", 5: "D, H, W"}[kernel.ndim]
    expect(
        x.ndim >= kernel.ndim - 1,
        where,
        f"images of shape (..., {axes}, C)",
        x.shape,
        "Add the missing axes; a grey image has C = 1, last.",
    )
    *_, per_group, features = kernel.shape
    expect(
        is_int(groups, 1) and features % groups == 0,
        where,
        f"groups that divide the {features} output channels",
        shown(groups),
        "Choose a divisor of the kernel's last axis.",
    )
    expect(
        x.shape[-1] == per_group * groups,
        where,
        f"images of {per_group * groups} channels for a kernel of shape {kernel.shape} and groups={groups}",
        f"x of shape {x.shape}",
        f"Channels come last: jax.numpy.moveaxis(x, {1 - kernel.ndim}, -1)."
        if x.shape[1 - kernel.ndim] == per_group * groups
        else "Match the kernel's last axis but one to the images' last.",
    )
