"""Local connectivity without shared weights: a kernel of its own for every output pixel."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.checking import expect, floating, shaped
from jaxcnn.functional.spread import spread
from jaxcnn.functional.window import IMAGES_ONLY, Padding, Size, flat_batch, images, pair, positions, resolve_padding

__all__ = ["local_conv"]


def local_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = "VALID",
    dilation: Size = 1,
) -> jax.Array:
    """Return the images seen through another kernel at every place: a convolution whose weights are not shared.

    y[i, j, o] = bias[i, j, o] + sum_{u, v, c} x[i s + u d - p, j s + v d - p, c] kernel[i, j, u, v, c, o]

    Args:
        x: images (..., H, W, C_in), any number of leading axes, none included. Its dtype is the compute dtype.
        kernel: weights (H', W', kh, kw, C_in, C_out), cast to the dtype of x. Flax's (H', W', C_in * kh * kw, C_out)
            is `kernel.transpose(0, 1, 4, 2, 3, 5).reshape(H', W', -1, C_out)`.
        bias: (H', W', C_out), or None.
        stride: pixels between outputs, one int or (vertical, horizontal).
        padding: "VALID" (no padding), "SAME" (ceil(H / stride) outputs), pixels on every side, or
            ((top, bottom), (left, right)).
        dilation: pixels between the taps of a kernel.

    Returns:
        Maps (..., H', W', C_out) of x's dtype; H' = floor((H + pads - (kh - 1) d - 1) / s) + 1.

    Raises:
        ValueError: wrong rank, sizes or channel counts that do not match, a window larger than the padded image.
        TypeError: x or kernel of a dtype that is not floating.

    Source: LeCun 1989, section 4; Taigman et al. 2014 (DeepFace), section 3; agrees with `flax.linen.ConvLocal`.
    """
    where = "local_conv"
    x, kernel = images(where, x), floating(where, "kernel", kernel)
    expect(
        kernel.ndim == 6 and kernel.shape[4] == x.shape[-1],
        where,
        f"a kernel of shape (H', W', kh, kw, {x.shape[-1]}, C_out) for x of shape {x.shape}",
        kernel.shape,
        "Put the output's height and width first and the images' channels fifth."
        if kernel.ndim != 4 or x.ndim != 3
        else IMAGES_ONLY,
    )
    window, features = (kernel.shape[2], kernel.shape[3]), kernel.shape[5]
    steps, gaps = pair(where, "stride", stride), pair(where, "dilation", dilation)
    pads = resolve_padding(where, padding, x.shape[-3:-1], window, steps, gaps)
    size = positions(x.shape[-3:-1], window, steps, pads, gaps)
    expect(
        kernel.shape[:2] == size,
        where,
        f"a kernel for {size[0]}x{size[1]} outputs, as x of shape {x.shape} has",
        f"a kernel of shape {kernel.shape}",
        "Match the kernel's first two axes to the outputs.",
    )
    if bias is not None:
        bias = shaped(where, "bias", bias, (*size, features))
    batch, lead = flat_batch(x)
    # Places in front: one matrix product for each, images by weights.
    padded = jnp.pad(batch, ((0, 0), *pads, (0, 0))).transpose(1, 2, 0, 3)
    taps = [_tap(padded, (u * gaps[0], v * gaps[1]), size, steps) for u, v in np.ndindex(window)]
    patches = jnp.concatenate(taps, -1)
    weights = kernel.astype(x.dtype).reshape(*size, patches.shape[3], features)
    y = jnp.einsum("hwnk,hwko->nhwo", patches, weights).reshape(*lead, *size, features)
    return y if bias is None else y + spread(bias, y)


def _tap(x: jax.Array, start: tuple[int, int], size: tuple[int, ...], stride: tuple[int, int]) -> jax.Array:
    """Return the pixels (H', W', N, C_in) that one tap of the kernel sees at every place."""
    last = [a + (n - 1) * s + 1 for a, n, s in zip(start, size, stride, strict=True)]
    return lax.slice(x, (*start, 0, 0), (*last, *x.shape[2:]), (*stride, 1, 1))
