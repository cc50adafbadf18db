"""A bank of filters, the same for every channel: the weighted moving sum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating
from jaxcnn.functional.convolution import convolved
from jaxcnn.functional.window import Padding, Size, images

__all__ = ["moving_sum"]


def moving_sum(
    x: jax.Array, kernels: jax.Array | Callable[[], jax.Array], *, stride: Size = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Return every channel of the images filtered by every kernel (cross-correlation, a depthwise convolution).

    y[i, j, c n + k] = sum_{u, v} x[i s + u - p, j s + v - p, c] kernels[u, v, k]

    Args:
        x: images (..., H, W, C), any number of leading axes, none included. Its dtype is the compute dtype.
        kernels: n filters (kh, kw, n), cast to the dtype of x, or one of `jaxcnn.filters`, which makes them.
        stride: pixels between outputs, one int or (vertical, horizontal).
        padding: "SAME" (zeros around, ceil(H / stride) outputs), "VALID", pixels on every side, or
            ((top, bottom), (left, right)).

    Returns:
        Maps (..., H', W', C * n) of x's dtype: the n maps of the first channel, those of the second, and so on.

    Raises:
        ValueError: wrong rank, images or kernels without channels, a window larger than the padded image.
        TypeError: x or kernels of a dtype that is not floating.

    Source: agrees with `flax.linen.Conv(feature_group_count=C)` and `torch.nn.functional.conv2d(groups=C)`, and for
    kernels of odd size with `scipy.ndimage.correlate(mode="constant")` channel by channel.
    """
    x = images("moving_sum", x)
    fix = "Pass an instance such as filters.Sobel()."
    kind = getattr(kernels, "__name__", "")
    expect(not isinstance(kernels, type), "moving_sum", "kernels or a bank of jaxcnn.filters", kind, fix, TypeError)
    kernels = floating("moving_sum", "kernels", kernels() if callable(kernels) else kernels)
    expect(
        kernels.ndim == 3 and kernels.size > 0,
        "moving_sum",
        "kernels of shape (kh, kw, n)",
        kernels.shape,
        "Stack the filters along the last axis: one filter is kernel[:, :, None].",
    )
    channels = x.shape[-1]
    expect(channels > 0, "moving_sum", "images of at least one channel", x.shape, "A grey image has C = 1, last.")
    bank = jnp.tile(kernels[:, :, None], (1, 1, 1, channels))
    return convolved("moving_sum", x, bank, None, stride, padding, 1, channels)
