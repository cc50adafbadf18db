"""Transposed convolution: every pixel of a small image paints a kernel onto a larger one."""

from collections.abc import Sequence

import jax

from jaxcnn.checking import expect, expect_flag, expect_size, floating, is_int, plain, shaped, shown
from jaxcnn.functional.convolution import expect_kernel
from jaxcnn.functional.primitives.convolve import convolve_transposed
from jaxcnn.functional.spread import spread
from jaxcnn.functional.window import IMAGES_ONLY, Padding, Size, flat_batch, images, normalise_padding, pair

__all__ = ["conv_transpose"]


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "SAME",
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    transpose_kernel: bool = False,
) -> jax.Array:
    """Return the images enlarged by `stride`: every pixel paints the kernel, turned round, s pixels from the last one.

    y[s i + (kh - 1 - u) d - p, s j + (kw - 1 - v) d - p, o] += x[i, j, c] kernel[u, v, c, o], and bias[o] is added.

    All options are those of the `conv` that leads back: one with the same stride, padding and dilation makes images
    of x's size out of y's, if output_padding is less than the stride. Of the sizes of y for which that holds, with
    span = (kh - 1) d + 1,
    - "SAME" takes H' = H s, and cuts p = max(span - s, 0) // 2 pixels off the top;
    - "VALID" takes H' = (H - 1) s + max(span, s), and cuts nothing off;
    - pixels take H' = (H - 1) s + span - top - bottom + output_padding, and cut p = top pixels off.

    Args:
        x: images (..., H, W, C_in), any number of leading axes, none included. Its dtype is the compute dtype.
        kernel: weights (kh, kw, C_in / groups, C_out), cast to the dtype of x.
        bias: (C_out,), or None.
        stride: pixels of y between neighbours in x, one int or (vertical, horizontal).
        padding: "SAME", "VALID", pixels to cut off every side, or ((top, bottom), (left, right)).
        output_padding: pixels fewer to cut off below and on the right, one int or two, less than the larger of stride
            and dilation; for a padding in pixels alone.
        dilation: pixels between the taps of a kernel.
        groups: the channels are split into this many groups that do not see each other.
        transpose_kernel: the kernel is that of the `conv` that leads back, (kh, kw, C_out / groups, C_in), not turned
            round yet: y is what the gradient of that `conv` along its images makes of a cotangent x.

    Returns:
        Maps (..., H', W', C_out) of x's dtype.

    Raises:
        ValueError: wrong rank, channel counts that do not match, a padding that leaves no pixel.
        TypeError: x or kernel of a dtype that is not floating.

    Source: Zeiler et al. 2010; Dumoulin and Visin 2016, chapter 4. Agrees with `flax.linen.ConvTranspose` for "SAME"
    and "VALID" (its pixels pad x instead: they are span - 1 - p), with and without transpose_kernel, and, with
    transpose_kernel and a padding in pixels, with `torch.nn.functional.conv_transpose2d`, whose weight
    (C_in, C_out / groups, kh, kw) has its axes in another order.
    """
    where = "conv_transpose"
    x, kernel = images(where, x), floating(where, "kernel", kernel)
    groups = plain(groups)
    if expect_flag(where, "transpose_kernel", transpose_kernel):
        _expect_kernel_back(where, x, kernel, groups)
    else:
        expect_kernel(where, x, kernel, groups, ranks=(2,))
        kernel = _kernel_back(kernel, groups)
    features = kernel.shape[2] * groups
    if bias is not None:
        bias = shaped(where, "bias", bias, (features,))
    steps, gaps = pair(where, "stride", stride), pair(where, "dilation", dilation)
    pads, size = _geometry(where, x, kernel, steps, padding, output_padding, gaps)
    batch, lead = flat_batch(x)
    y = convolve_transposed(
        batch, kernel.astype(x.dtype), size=size, stride=steps, padding=pads, dilation=gaps, groups=groups
    )
    y = y.reshape(*lead, *y.shape[1:])
    return y if bias is None else y + spread(bias, y)


def margin(where: str, value: Size) -> tuple[int, int]:
    """Return `value`, an output_padding, as two ints >= 0, (vertical, horizontal)."""
    values = value if isinstance(value, Sequence) else (value, value)
    ok = len(values) == 2 and all(is_int(v, 0) for v in values)
    expect(ok, where, "output_padding as an int >= 0 or two of them", shown(value), "Pass output_padding=1, say.")
    return int(values[0]), int(values[1])


def _expect_kernel_back(where: str, x: jax.Array, kernel: jax.Array, groups: int) -> None:
    expect(
        kernel.ndim == 4 and kernel.shape[3] == x.shape[-1],
        where,
        f"a kernel of shape (kh, kw, C_out / groups, {x.shape[-1]}) under transpose_kernel for x of shape {x.shape}",
        kernel.shape,
        "Pass the kernel of the conv that leads back." if kernel.ndim != 3 or x.ndim != 3 else IMAGES_ONLY,
    )
    expect(
        is_int(groups, 1) and kernel.shape[3] % groups == 0,
        where,
        f"groups that divide the {kernel.shape[3]} input channels",
        shown(groups),
        "Choose a divisor of the kernel's last axis.",
    )


def _kernel_back(kernel: jax.Array, groups: int) -> jax.Array:
    """Return (kh, kw, C_in / groups, C_out) turned round and transposed to (kh, kw, C_out / groups, C_in)."""
    kh, kw, per_group, features = kernel.shape
    split = kernel[::-1, ::-1].reshape(kh, kw, per_group, groups, features // groups)
    return split.transpose(0, 1, 4, 3, 2).reshape(kh, kw, features // groups, groups * per_group)


def _geometry(
    where: str,
    x: jax.Array,
    kernel: jax.Array,
    stride: tuple[int, int],
    padding: Padding,
    output_padding: Size,
    dilation: tuple[int, int],
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the padding (below 0 where nothing is painted) of the conv that leads back and the size it starts from."""
    normal, extra = normalise_padding(where, padding), margin(where, output_padding)
    ok, got = not isinstance(normal, str) or not any(extra), shown(output_padding)
    expect(ok, where, f"output_padding 0 for {shown(padding)}", got, "Pass a padding in pixels, such as padding=1.")
    ok = all(e == 0 or e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))
    expect(ok, where, "output_padding less than the larger of stride and dilation", got, "Pass a smaller one.")
    pads, size = [], []
    for axis, (n, k, s, d) in enumerate(zip(x.shape[-3:-1], kernel.shape[:2], stride, dilation, strict=True)):
        painted = (n - 1) * s + (k - 1) * d + 1
        if isinstance(normal, str):
            whole = n * s if normal == "SAME" else max(painted, n * s)
            before = max(painted - whole, 0) // 2
        else:
            before, after = normal[axis]
            whole = painted - before - after + extra[axis]
        size.append(whole)
        pads.append((before, painted - before - whole))
    expect(
        min(x.shape[-3:-1]) >= 1 and min(size) >= 1,
        where,
        f"an image, and a padding that leaves a pixel of what a kernel of shape {kernel.shape} paints",
        f"x of shape {x.shape} and padding={shown(padding)}",
        "Use less padding: it is cut off the result.",
    )
    expect_size(where, "an image", size, "Use a smaller stride, dilation or output_padding.")
    return pads, size
